"""The admin validates each field by the configuration's rules, and every save increments the version."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from routing.authentication.api_keys import ApiKeys, digest
from routing.database.api_keys import issue
from routing.database.loader import current_version, load, raw_document
from routing.models import ApiKey, Route, Service, Target, Webhook
from tests.routing.pages import browser_form

pytestmark = pytest.mark.django_db

ADD = "/admin/routing/service/add/"
LIST = "/admin/routing/service/"
ROUTES = "/admin/routing/route/"
KEYS = "/admin/routing/apikey/"


def form(*, targets: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """A service's form data as a browser posts it."""
    posted = {"name": "crm", "enabled": "on", **fields}
    initial = sum("id" in row for row in targets)
    posted |= {"targets-TOTAL_FORMS": len(targets), "targets-INITIAL_FORMS": initial}
    for index, row in enumerate(targets):
        posted |= {f"targets-{index}-{name}": value for name, value in {"enabled": "on", **row}.items()}
    return posted


def both(name: str, *values: str) -> dict[str, str]:
    """The controls of a field that has several."""
    return {f"{name}_{index}": value for index, value in enumerate(values)}


def yaml(text: str) -> dict[str, str]:
    """The second tab."""
    return {"syntax": "yaml", "yaml_text": text}


TARGET = {"url": "http://127.0.0.1:9101", "weight": 1}


def errors(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_a_service_is_created_with_its_targets_and_routes(root: Client) -> None:
    settings = {"cache__switch": "off", **both("timeout__total", "5", "s"), "hosts": "a.example"}
    response = root.post(ADD, form(targets=[TARGET], **settings))
    assert response.status_code == 302, errors(response.content.decode())
    route = {"path": "/{user}", "enabled": "on", "methods": ["GET"], **both("cache__tags", "m:{user}", "")}
    response = root.post(
        f"{ROUTES}add/", {**route, **both("cache__ttl", "60", "s"), "service": Service.objects.get().pk}
    )
    assert response.status_code == 302, errors(response.content.decode())
    assert raw_document()["services"]["crm"] == {
        "enabled": True,
        "hosts": ["a.example"],
        "timeout": {"total": "5s"},
        "cache": False,
        "targets": [{**TARGET, "enabled": True}],
        "routes": [
            {
                "path": "/{user}",
                "methods": ["GET"],
                "invalidates": [],
                "idempotency": False,
                "enabled": True,
                "cache": {"ttl": "60s", "tags": ["m:{user}"]},
            }
        ],
    }
    assert load(lambda _: None).table.services["crm"].routes[0].path == "/{user}"


@pytest.mark.parametrize(
    ("posted", "message"),
    [
        (yaml("auth: none\ncache: {tll: 1}"), "line 2: cache: unknown key 'tll' (did you mean 'ttl'?)"),
        (yaml("cache: {ttl: 1"), "line 1: not valid YAML or JSON"),
        (yaml("targets: []"), "targets have a table of their own"),
        (yaml("- a"), "must be a mapping"),
        ({"breaker__window_0": "x", "breaker__window_1": "s"}, "Enter a number."),
        ({"rate_limit_0": "lots", "rate_limit_2": "m"}, "Enter whole numbers"),
        ({"retries__attempts": "99"}, "must be from 1 to 10"),
        ({"auth": "maybe"}, "Choose one of the words."),
        ({"name": "debug"}, "'debug' is a reserved word"),
        ({"targets": []}, "at least 1"),
        ({"targets": [{**TARGET, "url": "http://u:p@a"}]}, "must have no user"),
    ],
)
def test_a_fault_is_shown_on_the_page_and_nothing_is_saved(root: Client, posted: dict[str, Any], message: str) -> None:
    response = root.post(ADD, form(**{"targets": [TARGET], **posted}))
    assert response.status_code == 200
    assert message in errors(response.content.decode())
    assert not Service.objects.exists()


def test_a_preset_needs_no_targets(root: Client) -> None:
    response = root.post(ADD, form(targets=[], name="slackIntelligence", preset="slack"))
    assert response.status_code == 302, errors(response.content.decode())
    page = root.get(f"{LIST}{Service.objects.get().pk}/change/").content.decode()
    assert '<option value="slack" selected>slack</option>' in page
    posted = form(targets=[], name="slackIntelligence", preset="")
    page = root.post(f"{LIST}{Service.objects.get().pk}/change/", posted).content.decode()
    assert "at least 1" in errors(page)
    assert Service.objects.get().preset == "slack"


@pytest.mark.parametrize("names", ["fallback", "webhook"])
def test_a_service_that_another_names_is_not_deleted(root: Client, names: str) -> None:
    crm = Service.objects.create(name="crm")
    if names == "fallback":
        other = Service.objects.create(name="other")
        Route.objects.create(service=other, path="/a", fallback={"service": "crm"})
    else:
        Webhook.objects.create(name="other", settings={"verify": "github", "service": "crm"})
    page = errors(root.post(f"{LIST}{crm.pk}/delete/", {"post": "yes"}).content.decode())
    assert f"{'service' if names == 'fallback' else 'webhook'} other: " in page
    root.post(LIST, {"action": "delete_selected", "_selected_action": [crm.pk], "post": "yes"})
    assert Service.objects.filter(name="crm").exists()
    selected = list(Service.objects.values_list("pk", flat=True))
    Webhook.objects.all().delete()
    root.post(LIST, {"action": "delete_selected", "_selected_action": selected, "post": "yes"})
    assert not Service.objects.exists()


def test_invalid_input_is_shown_again(root: Client) -> None:
    page = root.post(ADD, form(targets=[TARGET], **yaml("cache: {tll: 1}"))).content.decode()
    assert "{tll: 1}" in page
    page = root.post(ADD, form(targets=[TARGET], retries__attempts="many")).content.decode()
    assert 'value="many"' in page


@pytest.fixture
def crm() -> Service:
    service = Service.objects.create(name="crm", cache={"ttl": 60, "scope": "user"}, headers={"X": "env:TOKEN"})
    Target.objects.create(service=service, **TARGET)
    Route.objects.create(service=service, path="/a", cache=False)
    return service


def page_of(service: Service) -> str:
    return f"{LIST}{service.pk}/change/"


def test_the_pages_show_stored_values_in_the_syntax_of_the_file(root: Client, crm: Service) -> None:
    page = unescape(root.get(page_of(crm)).content.decode())
    assert "cache: {ttl: 60, scope: user}" in page
    assert "X: env:TOKEN" in page
    assert "http://127.0.0.1:9101" in root.get(LIST).content.decode()


def test_saving_an_unchanged_page_changes_nothing(root: Client, crm: Service) -> None:
    before = raw_document()
    assert root.post(page_of(crm), browser_form(root.get(page_of(crm)))).status_code == 302
    assert raw_document() == before


def test_a_change_in_an_inline_increments_the_version(root: Client, crm: Service) -> None:
    version = current_version()
    posted = browser_form(root.get(page_of(crm))) | {"targets-0-weight": 7}
    assert root.post(page_of(crm), posted).status_code == 302
    assert crm.targets.get().weight == 7
    assert current_version() > version


def test_services_are_disabled_and_enabled_from_the_list(root: Client, crm: Service) -> None:
    for action, enabled in (("disable", False), ("enable", True)):
        version = current_version()
        root.post(LIST, {"action": action, "_selected_action": [crm.pk]})
        crm.refresh_from_db()
        assert crm.enabled is enabled
        assert current_version() > version


def test_deleting_services_from_the_list_increments_the_version(root: Client, crm: Service) -> None:
    version = current_version()
    root.post(LIST, {"action": "delete_selected", "_selected_action": [crm.pk], "post": "yes"})
    assert not Service.objects.exists()
    assert current_version() > version


def test_a_new_key_is_shown_once_and_its_digest_never(root: Client) -> None:
    response = root.post(f"{KEYS}add/", {"name": "ci", "scopes": "[metrics:read]"}, follow=True)
    shown = re.search(r"gw_[a-z2-7]{8}_[A-Za-z0-9]{49}", response.content.decode())
    assert shown is not None
    assert ApiKeys(load(lambda _: None).keys).find(shown[0], 0.0) is not None
    key = ApiKey.objects.get()
    for url in (KEYS, f"{KEYS}{key.pk}/change/", "/admin/"):
        page = root.get(url).content.decode()
        assert shown[0] not in page
        assert digest(shown[0]) not in page


def test_a_keys_settings_have_fields(root: Client, crm: Service) -> None:
    settings = {"scopes": "crm\nmetrics:read", "methods": ["GET"], "ip_allow": "10.0.0.0/8\n192.0.2.1"}
    quota = {"limit_quota-0-amount": "5", "limit_quota-0-per": "day"}
    limits = {**both("limit_rate", "60", "", "m"), "limit_burst": "10", **quota}
    page = root.post(f"{KEYS}add/", {"name": "ci", **settings, **limits}, follow=True).content.decode()
    assert re.search(r'data-copy="gw_[a-z2-7]{8}_[A-Za-z0-9]{49}"', page)
    key = ApiKey.objects.get()
    assert (key.scopes, key.methods) == (["crm", "metrics:read"], ["GET"])
    assert key.ip == {"allow": ["10.0.0.0/8", "192.0.2.1"]}
    assert key.limits == {"rate": "60/m", "burst": 10, "quota": [{"amount": 5, "per": "day"}]}
    change = f"{KEYS}{key.pk}/change/"
    posted = browser_form(root.get(change))
    root.post(change, posted | {"limit_burst": "", "name": "renamed"})
    after = ApiKey.objects.get()
    assert (after.name, after.limits) == ("renamed", {"rate": "60/m", "quota": [{"amount": 5, "per": "day"}]})
    assert (after.scopes, after.methods, after.ip) == (key.scopes, key.methods, key.ip)
    for wrong, message in (({"ip_deny": "10.0.0.0/99"}, "10.0.0.0/99"), ({"limit_burst": "0"}, "must be from 1")):
        assert message in errors(root.post(change, posted | wrong).content.decode())
    assert ApiKey.objects.get().ip == key.ip


def test_the_digest_of_a_key_cannot_be_posted(root: Client) -> None:
    root.post(f"{KEYS}add/", {"name": "ci", "scopes": "['*']", "expires_at_0": "", "expires_at_1": ""})
    key = ApiKey.objects.get()
    root.post(f"{KEYS}{key.pk}/change/", {"name": "renamed", "scopes": "['*']", "digest": "0" * 64, "prefix": "mine"})
    after = ApiKey.objects.get()
    assert (after.name, after.digest, after.prefix) == ("renamed", key.digest, key.prefix)


def test_an_invalid_scope_is_shown_at_its_field(root: Client) -> None:
    response = root.post(f"{KEYS}add/", {"name": "ci", "scopes": "[a b, 'c,d']"})
    assert "'c,d' is not a scope" in errors(response.content.decode())
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("scopes", "error"), [("", "every service"), ("[nope, debug]", "unknown scope"), ("['']", "not a scope")]
)
def test_a_new_key_names_what_it_may_use(root: Client, scopes: str, error: str) -> None:
    response = root.post(f"{KEYS}add/", {"name": "ci", "scopes": scopes})
    assert error in errors(response.content.decode())
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("scopes", [None, [], ["gone"]])
def test_a_key_stored_before_keeps_its_scopes(root: Client, scopes: list[str] | None) -> None:
    key = ApiKey(name="old", scopes=scopes)
    issue(key)
    text = "" if scopes is None else str(scopes)
    root.post(f"{KEYS}{key.pk}/change/", {"name": "renamed", "scopes": text})
    after = ApiKey.objects.get()
    assert (after.name, after.scopes) == ("renamed", scopes)


def test_blanking_a_keys_scopes_does_not_widen_it(root: Client, crm: Service) -> None:
    key = ApiKey(name="old", scopes=[crm.name])
    issue(key)
    root.post(f"{KEYS}{key.pk}/change/", {"name": "old", "scopes": ""})
    assert ApiKey.objects.get().scopes == [crm.name]


def test_revoking_keys_from_the_list_increments_the_version(root: Client) -> None:
    root.post(f"{KEYS}add/", {"name": "ci", "scopes": "[debug]"})
    version = current_version()
    root.post(KEYS, {"action": "revoke_keys", "_selected_action": [ApiKey.objects.get().pk]})
    assert ApiKey.objects.get().revoked_at is not None
    assert load(lambda _: None).keys == ()
    assert current_version() > version


def test_an_anonymous_client_is_redirected(client: Client, crm: Service) -> None:
    assert client.get(page_of(crm)).status_code == 302
