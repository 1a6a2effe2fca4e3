"""The variables of staff sign-in, and that nothing is loaded without them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_project import config
from gateway_project.environment.sign_in import roles
from gateway_project.environment.variables import ConfigurationFault
from metrics.sign_in.policy import Role, SecondFactor

GIVEN = {"SECRET_KEY": "for tests alone, and long enough to sign with"}
PROVIDER = {
    "STAFF_OIDC_ISSUER": "https://login.example.com/realms/acme",
    "STAFF_OIDC_CLIENT_ID": "gateway",
    "STAFF_OIDC_CLIENT_SECRET": "s",
    "STAFF_OIDC_ROLES": "ops=Operator",
}
ROOT = Path(__file__).parents[2]


def faults(**environment: str) -> list[str]:
    with pytest.raises(ConfigurationFault) as error:
        config.read(GIVEN | environment)
    return error.value.faults


def test_without_variables_nothing_changes() -> None:
    assert config.read(GIVEN | dict.fromkeys(PROVIDER, "")).sign_in is None


def test_a_provider() -> None:
    found = config.read(GIVEN | PROVIDER | {"STAFF_OIDC_DOMAINS": "@Example.com", "STAFF_SESSION_HOURS": "8"}).sign_in
    assert found is not None
    assert found.provider is not None
    assert found.has_password_login
    assert found.second_factor is SecondFactor.OPTIONAL
    assert found.session_hours == 8
    assert found.provider.domains == ("example.com",)
    assert found.provider.scopes == ("openid", "profile", "email")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"STAFF_OIDC_ISSUER": ""}, "STAFF_OIDC_ISSUER: must be set"),
        ({"STAFF_OIDC_CLIENT_ID": ""}, "STAFF_OIDC_CLIENT_ID: must be set"),
        ({"STAFF_OIDC_ROLES": ""}, "STAFF_OIDC_ROLES: must be set"),
        ({"STAFF_OIDC_ROLES": "ops=Admin"}, "STAFF_OIDC_ROLES: 'ops': write group=Viewer"),
        ({"STAFF_OIDC_ROLES": "{1}"}, "STAFF_OIDC_ROLES: is not a JSON object"),
        ({"STAFF_OIDC_ISSUER": "http://127.0.0.1:9"}, "STAFF_OIDC_ISSUER: http is not allowed"),
        ({"STAFF_OIDC_ISSUER": "http://login.example.com"}, "STAFF_OIDC_ISSUER: issuer must be an https URL"),
        ({"STAFF_OIDC_SCOPES": "profile"}, "STAFF_OIDC_SCOPES: must contain openid"),
        ({"STAFF_OIDC_CLIENT_SECRET": "env:GATEWAY_SECRET_NONE"}, "STAFF_OIDC_CLIENT_SECRET: the environment variable"),
        ({"STAFF_OIDC_CLIENT_SECRET": "env:SECRET_KEY"}, "STAFF_OIDC_CLIENT_SECRET: env:SECRET_KEY is not allowed"),
        ({"STAFF_OIDC_CLIENT_SECRET": "file:/etc/passwd"}, "STAFF_OIDC_CLIENT_SECRET: file:/etc/passwd is not allowed"),
        (
            {"STAFF_SECOND_FACTOR": "sometimes"},
            "STAFF_SECOND_FACTOR: 'sometimes' is not one of off, optional, required",
        ),
        ({"STAFF_SESSION_HOURS": "0"}, "STAFF_SESSION_HOURS: '0' is not an integer from 1"),
    ],
)
def test_a_fault_is_named(change: dict[str, str], fault: str) -> None:
    assert any(each.startswith(fault) for each in faults(**(PROVIDER | change)))


def test_nobody_could_sign_in_without_passwords_and_a_provider() -> None:
    assert faults(STAFF_PASSWORD_LOGIN="off") == ["STAFF_PASSWORD_LOGIN: off requires STAFF_OIDC_ISSUER"]


def test_groups_with_commas_and_equals_signs() -> None:
    assert roles("/a/b=Viewer, x=y=owner") == (("/a/b", Role.VIEWER), ("x=y", Role.OWNER))
    assert roles('{"cn=ops,ou=groups": "Operator"}') == (("cn=ops,ou=groups", Role.OPERATOR),)


@pytest.mark.parametrize(("variables", "is_loaded"), [({}, False), ({"STAFF_SECOND_FACTOR": "optional"}, True)])
def test_allauth_is_loaded_only_if_it_is_used(variables: dict[str, str], is_loaded: bool) -> None:
    code = (
        "import sys, django; django.setup()\n"
        "from django.urls import get_resolver; get_resolver().url_patterns\n"
        "from django.conf import settings\n"
        "print(any(name.startswith(('allauth', 'fido2', 'qrcode')) for name in sys.modules),"
        " any('allauth' in name for name in settings.MIDDLEWARE), 'psycopg' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STAFF_")} | variables
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(is_loaded)] * 2 + ["False"], "PostgreSQL's driver is not loaded for SQLite"
