"""The fields of settings: there is one for each key, and each reads back what it shows."""

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.forms import modelform_factory
from django.test import Client
from django.utils.translation import override

from metrics.models import Operation
from routing.admin.service_form import ServiceForm
from routing.admin.setting_fields import assembly
from routing.admin.setting_fields.base import UNSET, Number, tidy
from routing.admin.setting_fields.lists import Named
from routing.admin.setting_fields.measures import Duration, Share
from routing.admin.setting_fields.plain import ROUTE, SERVICE, SHARED
from routing.admin.setting_fields.sections import SERVICE_SECTIONS, SHARED_SECTIONS
from routing.admin.settings_form import field_name
from routing.admin.yaml_text import MAX_TEXT
from routing.configuration.credentials import OAUTH2
from routing.configuration.decode import decode_service, route_parsers, service_parsers
from routing.configuration.document import parse
from routing.configuration.section_parsers import SECTIONS
from routing.database.apply import apply_document
from routing.database.loader import raw_document
from routing.models import ANY_SECRET, SETTINGS, Service, Target
from routing.presets import shipped
from tests.routing.pages import browser_form
from tests.routing.test_admin import both
from tests.staff import member_of

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
FIELDS = {**SERVICE_SECTIONS, **SHARED_SECTIONS}
NESTED: dict[str, set[tuple[str, ...]]] = {
    "breaker": {("open_for", "base"), ("open_for", "factor"), ("open_for", "max")},
    "cache": {
        *(("key", "body"), ("key", "query", "ignore"), ("key", "query", "sort"), ("key", "headers")),
        *(("invalidate_own", "when"), ("invalidate_own", "tags")),
    },
    "credential": {("oauth2", name) for name in OAUTH2},
}


def test_each_key_of_each_section_has_a_field() -> None:
    assert FIELDS.keys() == SECTIONS.keys()
    services = {"targets", "routes", "preset", "enabled", *FIELDS, *SHARED, *SERVICE}
    assert set(service_parsers(ANY_SECRET)) == services
    assert set(route_parsers(ANY_SECRET)) == {"path", "enabled", "idempotency", *SHARED_SECTIONS, *SHARED, *ROUTE}
    assert {*SETTINGS} == {*SHARED_SECTIONS, *SHARED}
    for name, keys in SECTIONS.items():
        nested = NESTED.get(name, set())
        expected = {(key,) for key in keys} - {(path[0],) for path in nested} | nested
        assert {key.path for key in FIELDS[name].keys} == expected, name


def example() -> dict[str, Any]:
    service: dict[str, Any] = parse((ROOT / "docs/gateway.example.yaml").read_text()).structure["services"][
        "slackIntelligence"
    ]
    return service


ALL_KEYS: dict[str, Any] = {
    "credential": {
        "oauth2": {
            "grant": "client_credentials",
            "token_url": "https://login.example.com/{tenant}/token",
            "client_id": "gateway",
            "client_secret": "env:GATEWAY_SECRET_CRM",
            "scopes": ["read"],
            "prefix": "",
            "token_params": {"resource": "https://crm.example.com", "odd: name": "a"},
        },
        "per": "tenant",
    },
    "breaker": {"open_for": {"base": "30s", "factor": 2, "max": "5m"}, "failure_rate": 0.123, "slow_call": None},
    "cache": {
        "credentials": [],
        "key": {"body": ["a.b"], "query": {"ignore": ["t"]}},
        "cookies": ["s"],
        "invalidate_own": {"when": [{"status": 404}, {"status": 410, "body": {"a.b": "c"}}], "tags": ["list"]},
        "methods": ["GET", "POST"],
        "scope": "user",
    },
    "timeout": {"total": None, "idle": 90, "connect": "250ms"},
    "thresholds": {"error_rate": None, "latency": "1.5s"},
    "hold_off": {"per": "route"},
    "outbound": {"rate": "20/10s"},
    "fallback": {"body": {"items": [1, None, "x"]}, "status": 203},
    "health": False,
    "cors": True,
    "labels": {"team": "payments"},
    "status_page": True,
    "headers": {"X-A": "1", "X-B": "env:GATEWAY_SECRET_B"},
}


@pytest.mark.django_db
@pytest.mark.parametrize("settings", [example(), ALL_KEYS, *(shipped.preset(name).service for name in shipped.names())])
def test_fields_read_back_what_they_show(settings: dict[str, Any]) -> None:
    settings = {"targets": [{"url": "http://a"}], **settings, "routes": []}
    columns = {name: settings[name] for name in (*SETTINGS, "paths", "thresholds", *SERVICE) if name in settings}
    form = modelform_factory(Service, ServiceForm, fields=["name"])(instance=Service(name="crm", **columns))
    read = {**settings}
    for name, section in FIELDS.items():
        stored = settings.get(name)
        fields: dict[Any, Any] = {key.path: form.fields[field_name(name, key.path)] for key in section.keys}
        values = {path: field.read(tidy(field.show(assembly.value_at(stored, path)))) for path, field in fields.items()}
        read[name] = assembly.with_values({}, assembly.switch_of(stored), values)
    for name in (*SHARED, *SERVICE):
        field: Any = form.fields[name]
        value = field.read(tidy(field.show(settings.get(name, UNSET))))
        read[name] = None if value is UNSET else value
    assert decode_service("crm", read, ANY_SECRET) == decode_service("crm", settings, ANY_SECRET)


def test_values_are_shown_in_their_units() -> None:
    duration, share = Duration(label="a", null="no limit"), Share(label="a")
    assert [duration.show(value) for value in (UNSET, None, 90, "1.5h", "soon")] == [
        ["", "s"],
        ["", "null"],
        ["90", "s"],
        ["1.5", "h"],
        ["soon", "s"],
    ]
    assert [share.show(value) for value in (0.05, 0.123, 1)] == ["5", "12.3", "100"]
    assert [share.read(value) for value in ("5", "12,3", "")] == [0.05, 0.123, UNSET]
    for shown in ("x", "--1", "1e3", "\u0661"):
        with pytest.raises(ValidationError):
            duration.read([shown, "s"])


@pytest.mark.parametrize("text", ["10,000", "1,000,000", "-1,500"])
def test_a_thousand_is_not_taken_for_one_with_decimals(text: str) -> None:
    for field, shown in ((Duration(label="a"), [text, "ms"]), (Share(label="a"), text), (Number(label="a"), text)):
        with pytest.raises(ValidationError) as error, override("en"):
            field.read(shown)
        with override("en"):
            assert "without a separator" in str(error.value)
    assert Number(label="a").read("0,125") == 0.125


@pytest.mark.parametrize("text", ["X-A", ": a", "X-A: 1\nX-A: 2", "{a: [}"])
def test_names_without_values_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Named(label="a").read(text)


PAGE = "/admin/routing/service/{}/{}/"


@pytest.fixture
def crm(db: None) -> Service:
    item = {
        "targets": [{"url": "http://127.0.0.1:9101"}],
        "headers": {"Authorization": "Bearer hunter2"},
        "breaker": {"open_for": "30s"},
        "cache": {"ttl": 300, "tags": ["a"]},
        "routes": [{"path": "/a"}],
    }
    apply_document({"version": 1, "services": {"crm": item}})
    return Service.objects.get()


def client_of(group: str) -> Client:
    return member_of(group, group.lower())


def test_a_changed_field_leaves_the_others_as_they_are_written(crm: Service) -> None:
    client, url = client_of("Owner"), PAGE.format(crm.pk, "change")
    posted = (
        browser_form(client.get(url)) | both("cache__stale_if_error", "2", "h") | {"breaker__open_for__factor": "2"}
    )
    assert client.post(url, posted).status_code == 302
    service = raw_document()["services"]["crm"]
    assert service["cache"] == {"ttl": 300, "tags": ["a"], "stale_if_error": "2h"}
    assert service["breaker"] == {"open_for": {"base": "30s", "factor": 2}}
    assert service["headers"] == {"Authorization": "Bearer hunter2"}
    posted = browser_form(client.get(url)) | {"breaker__open_for__factor": "", **both("cache__tags", "", "empty")}
    client.post(url, posted)
    service = raw_document()["services"]["crm"]
    assert (service["breaker"], service["cache"]["tags"]) == ({"open_for": "30s"}, [])


def test_what_saving_would_change_is_told_and_not_done(crm: Service) -> None:
    client, url = client_of("Owner"), PAGE.format(crm.pk, "change")
    before, operations = raw_document(), Operation.objects.count()
    posted = browser_form(client.get(url)) | both("cache__ttl", "10", "m")
    answer = client.post(url, {**posted, "_preview": "1"}).json()
    assert answer["changed"] == {"crm": [{"pointer": "/services/crm/cache/ttl", "old": 300, "new": "10m"}]}
    assert "hunter2" not in str(answer)
    assert raw_document() == before
    assert client.post(url, {**posted, "retries__attempts": "x", "_preview": "1"}).json() == {"invalid": True}
    assert "was changed successfully" not in client.get("/admin/routing/route/").content.decode()
    assert Operation.objects.count() == operations


def test_yaml_is_checked_by_those_who_may_configure(crm: Service) -> None:
    client, url = client_of("Owner"), PAGE.format(crm.pk, "check")
    sent = {"name": "crm", "syntax": "yaml", "yaml_text": "auth: none\nretries:\n  attempts: 99\nhosts: [a b]"}
    faults = client.post(url, sent).json()["faults"]
    assert [(fault["line"], fault["message"].split(":")[0]) for fault in faults] == [
        (3, "retries.attempts"),
        (4, "hosts[0]"),
    ]
    assert client.post(url, {**sent, "yaml_text": "auth: none"}).json() == {"faults": []}
    literal = client.post(url, {**sent, "yaml_text": "headers:\n  Authorization: Bearer hunter3"}).json()["faults"]
    assert (literal[0]["line"], "a literal secret" in literal[0]["message"]) == (2, True)
    assert client.post(url, {**sent, "yaml_text": "#" * (MAX_TEXT + 1)}).json()["faults"]
    assert client.post(url, {**sent, "yaml_text": "#" * (5 * MAX_TEXT)}).json()["faults"]
    posted = browser_form(client.get(PAGE.format(crm.pk, "change"))) | {"auth": "optional", "show": "1"}
    shown = client.post(url, posted).json()["text"]
    assert "auth: optional" in shown
    assert "masked:" in shown
    assert raw_document()["services"]["crm"].get("auth") is None
    assert client.post("/admin/routing/service/check/", {**sent, "name": "new"}).json()["faults"]
    assert client.get(url).status_code == 403
    assert client_of("Viewer").post(url, sent).status_code == 403


def test_a_viewer_reads_all_settings_as_yaml(crm: Service) -> None:
    page = client_of("Viewer").get(PAGE.format(crm.pk, "change")).content.decode()
    assert "ttl: 300" in page
    assert "hunter2" not in page
    assert "_save" not in page


def test_a_preset_and_its_targets_are_kept(db: None) -> None:
    service = Service.objects.create(name="slack", preset="slack")
    client, url = client_of("Owner"), PAGE.format(service.pk, "change")
    assert client.post(url, browser_form(client.get(url))).status_code == 302
    assert Service.objects.get().preset == "slack"
    assert not Target.objects.exists()
