"""What a project's setting GATEWAY may have, and what its pages may use. tests/package/ runs a whole project."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.urls import clear_script_prefix, set_script_prefix

from gateway_project.included.apps import NEEDED, check_prefix, check_urls
from gateway_project.included.settings import configure
from gateway_project.included.urls import urlpatterns
from gateway_project.included.variables import read_project
from resilience.ratelimit.policy import RatePolicy

SECRET_KEY = "of a project, and long enough to sign with"
PROJECT = {"SECRET_KEY": SECRET_KEY, "DEBUG": False, "ALLOWED_HOSTS": ["shop.example"]}


def test_variables_are_those_of_the_setting_and_secrets_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RATE_LIMIT", "7/m")
    monkeypatch.setenv("REDIS_URL", "not the gateway's")
    monkeypatch.setenv("GATEWAY_SECRET_CRM", "for backends")
    monkeypatch.setenv("CRM_TOKEN", "for backends too")
    monkeypatch.setenv("DATABASE_PASSWORD", "not for backends")
    with override_settings(**PROJECT):
        config = read_project({"MAX_BODY_BYTES": "5", "SECRETS_FROM": "CRM_TOKEN"})
    assert (config.rate_limit, config.redis_server, config.max_body_bytes) == (RatePolicy(), None, 5)
    assert (config.secret_key, config.allowed_hosts) == (SECRET_KEY, ("shop.example",))
    assert (config.secret("GATEWAY_SECRET_CRM"), config.secret("CRM_TOKEN")) == ("for backends", "for backends too")
    assert "DATABASE_PASSWORD" not in config.environment


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"DEBUG": "on"}, "DEBUG: set DEBUG of the project"),
        ({"PORT": "80"}, "PORT: has no effect here: that is the server's"),
        ({"STAFF_OIDC_ISSUER": "x"}, "STAFF_OIDC_ISSUER: has no effect here"),
        ({"RATE_LIMITS": "1/m"}, "RATE_LIMITS: is no variable"),
        ({"RATE_LIMIT": "often"}, "RATE_LIMIT: 'often' is not a rate"),
        ({"MAX_BODY_BYTES": 5}, "MAX_BODY_BYTES: must be a text"),
        ({"REDIS_URL": "embedded"}, "REDIS_URL: 'embedded' is for rungateway alone"),
        (["RATE_LIMIT"], "must be a dict"),
    ],
)
def test_what_is_wrong_or_without_effect_is_an_error(variables: object, expected: str) -> None:
    with override_settings(**PROJECT), pytest.raises(ImproperlyConfigured) as error:
        read_project(variables)
    assert expected in str(error.value)


def test_times_without_a_zone_are_an_error() -> None:
    with override_settings(USE_TZ=False), pytest.raises(ImproperlyConfigured, match="set USE_TZ = True"):
        configure()


@pytest.mark.parametrize("name", ["admin", "sessions"])
def test_an_app_of_djangos_that_is_missing_is_named(name: str) -> None:
    others = [each for each in NEEDED if each != f"django.contrib.{name}"]
    code = f"""
import django
from django.conf import settings
settings.configure(SECRET_KEY="x", INSTALLED_APPS={others} + ["gateway_project.included", "metrics", "routing"])
django.setup()
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"ImproperlyConfigured: the gateway needs django.contrib.{name} in INSTALLED_APPS" in ended.stderr


@pytest.mark.urls("tests.gateway_project.included_urls")
@pytest.mark.parametrize("prefix", ["/", "/shop/"])
def test_the_urls_are_found_under_any_script_name(prefix: str) -> None:
    set_script_prefix(prefix)
    try:
        assert check_urls() == []
    finally:
        clear_script_prefix()


def views(patterns: list[Any]) -> Iterator[Any]:
    for each in patterns:
        yield from views(each.url_patterns) if hasattr(each, "url_patterns") else [each]


@pytest.mark.parametrize(("prefix", "found"), [(None, []), ("/shop", ["gateway.W002"])])
def test_a_prefix_of_the_whole_project_is_reported(prefix: str | None, found: list[str]) -> None:
    with override_settings(FORCE_SCRIPT_NAME=prefix):
        assert [each.id for each in check_prefix()] == found


@pytest.mark.parametrize("name", ["alerts", "quota", "replay", "retention", "usage"])
def test_a_project_has_the_commands_that_need_no_server_of_the_gateway(name: str) -> None:
    command = import_module(f"gateway_project.included.management.commands.{name}").Command
    assert command is import_module(f"gateway_project.management.commands.{name}").Command


def test_no_page_needs_the_projects_login_but_those_that_ask_for_it_themselves() -> None:
    """A project may have LoginRequiredMiddleware: API keys, health checks and links come without a session."""
    found = [(str(each.pattern), getattr(each.callback, "login_required", True)) for each in views(urlpatterns)]
    assert [pattern for pattern, is_required in found if is_required] == []
    assert len(found) > 50


ROOT = Path(__file__).resolve().parents[2]
PAGES = ("metrics/admin", "metrics/dashboard", "metrics/api", "routing/admin", "routing/connect")
OWN = {"metrics/admin/users.py"}
"""Modules that a project does not import."""
DJANGO = re.compile(
    r"@admin\.register\(\w+\)|admin\.site\b|from django\.shortcuts import.*\brender\b|[^.]\(['\"]admin:\w+_"
)


def test_pages_use_the_gateways_own_admin_site_and_templates() -> None:
    """Django's functions find those of the project: see routing/pages/."""
    modules = [path for directory in PAGES for path in (ROOT / directory).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): DJANGO.findall(path.read_text()) for path in modules}
    assert {name: uses for name, uses in found.items() if uses and name not in OWN} == {}


@pytest.mark.parametrize("directory", ["templates/dashboard", "templates/connect", "metrics/static/dashboard"])
def test_pages_have_no_fixed_addresses(directory: str) -> None:
    """A project includes them under a path of its own."""
    fixed = re.compile(r"""(?:href|action|src)="/(?!api/v1/)|["'`]/(?:dashboard|metrics|admin|api/(?!v1/))\b""")
    files = [path for path in (ROOT / directory).iterdir() if path.suffix in (".html", ".js")]
    assert {path.name: fixed.findall(path.read_text()) for path in files if fixed.search(path.read_text())} == {}
