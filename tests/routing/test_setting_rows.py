"""The forms of webhooks, issuers, alerts, plans, teams and consumers: a field for each setting, and all as YAML."""

from typing import Any

import pytest

from routing.admin.consumer_forms import ConsumerForm, PlanForm, TeamForm
from routing.admin.mapping_forms import AlertForm, IssuerForm, WebhookForm
from routing.admin.setting_fields import assembly
from routing.admin.setting_fields.base import UNSET, tidy
from routing.admin.settings_form import SettingsForm, field_name
from routing.configuration.alerts import decode_alert
from routing.configuration.consumers import canonical_item, check_item, decode_plan
from routing.configuration.document import canonical, parse
from routing.configuration.issuers import decode_issuer
from routing.configuration.webhooks import decode_webhook
from routing.database.loader import raw_document
from routing.models import ANY_SECRET, AlertRule, Consumer, ConsumerIdentity, Issuer, Plan, Service, Team, Webhook
from tests.routing.pages import browser_form
from tests.staff import member_of

pytestmark = pytest.mark.django_db

NESTED: dict[str, set[tuple[str, ...]]] = {
    "publish": {("topic",), ("type",), ("data",)},
    "forward": {("service",), ("path",)},
    "watch": {
        *(("topic",), ("address",), ("mailboxes",), ("calendars",), ("labels",), ("exclude_labels",)),
        *(("renew_before",), ("base",)),
    },
    "claims": {("id",), ("audience",), ("tenant",), ("scopes",), ("email",)},
    "introspection": {("url",), ("client_id",), ("client_secret",), ("prefix",)},
    "ip": {("allow",), ("deny",)},
    "price": {("per_request",), ("currency",)},
}
OWN = {"enabled", "offered", "plan", "team", "signed_up"}
"""Columns with Django's own form fields."""
WEBHOOK = """
verify: hmac
secret: ["env:GATEWAY_SECRET_A", "file:/run/secrets/b"]
header: X-Signature
prefix: ""
algorithm: sha256
encoding: hex
timestamp_header: X-Time
template: "{timestamp}.{body}"
id: "{header.x-request-id}"
service: crm
invalidates: ["channel:{event.channel}"]
publish: {topic: "slack:{event.type}", type: message, data: {channel: "{event.channel}"}}
forward: {service: crm, path: /events}
attempts: 3
"""
WATCH = """
verify: google_pubsub
audience: https://example.com/hooks/gmail
email: push@example.iam.gserviceaccount.com
keys_url: https://example.com/keys
service: crm
publish: {topic: "gmail:{data.emailAddress}", data: none}
watch: {topic: projects/p/topics/mail, mailboxes: [me], labels: [INBOX], renew_before: 1d, base: ""}
"""
ISSUER = """
audience: [api, other]
jwks_uri: https://id.example.com/keys
algorithms: [RS256, ES256]
leeway: 90
typ: at+jwt
claims: {tenant: org, scopes: [scope, permissions]}
require: {email_verified: true, level: [1, "1", 2.5], city: Berlin}
services: ["*"]
introspection: {url: "https://id.example.com/introspect", client_id: gw, client_secret: "env:GATEWAY_SECRET_B"}
"""
ALERT = """
"on": [circuit.open, "error_rate > 5% for 5m"]
services: crm
to:
  - email:oncall@example.com
  - {webhook: "https://example.com/a", secret: "env:GATEWAY_SECRET_C"}
repeat: 2h
resolve_after: 5m
"""
PLAN = """
rate: 60/m
burst: 10
quota: [{amount: 10000, per: month, anchor: signup, timezone: Europe/Berlin}, {amount: 5, per: hour}]
concurrency: 5
services: [crm, {mail: {methods: [GET, POST]}}]
ip: {allow: [10.0.0.0/8], deny: null}
price: {per_request: 0.002, currency: EUR}
offered: true
"""
KINDS: dict[str, tuple[type[SettingsForm], type[Any], str, str]] = {
    "webhook": (WebhookForm, Webhook, "name", WEBHOOK),
    "watch": (WebhookForm, Webhook, "name", WATCH),
    "issuer": (IssuerForm, Issuer, "issuer", ISSUER),
    "alert": (AlertForm, AlertRule, "name", ALERT),
    "plan": (PlanForm, Plan, "name", PLAN),
    "team": (TeamForm, Team, "name", "{rate: 100/2h, plan: free, signed_up: 2026-01-31}"),
    "consumer": (ConsumerForm, Consumer, "name", "{team: sales, plan: free, burst: 3, rate: 5/s, enabled: false}"),
}


def decoded(kind: str, settings: Any) -> Any:
    match kind:
        case "webhook" | "watch":
            return decode_webhook("a", settings, lambda name: name)
        case "issuer":
            return decode_issuer({**settings, "issuer": "https://id.example.com"}, lambda name: name)
        case "alert":
            return decode_alert({**settings, "name": "a"}, lambda _name: "s" * 32)
        case "plan":
            return decode_plan("a", settings)
    check_item(f"{kind}s", "a", settings)
    return canonical_item(f"{kind}s", settings)


@pytest.mark.parametrize("kind", KINDS)
def test_each_key_of_each_kind_has_a_field(kind: str) -> None:
    form = KINDS[kind][0]
    assert {*form.row_settings.names} - OWN == {*form.plain, *form.sections}
    for name, section in form.sections.items():
        assert {key.path for key in section.keys} == NESTED[name]


@pytest.fixture
def others(db: None) -> None:
    for name in ("crm", "mail"):
        Service.objects.create(name=name)
    Plan.objects.create(name="free")
    Team.objects.create(name="sales")


def page_of(model: type[Any], pk: int | None = None, page: str = "change") -> str:
    name = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    return f"{name}add/" if pk is None else f"{name}{pk}/{page}/"


@pytest.mark.parametrize("kind", KINDS)
def test_yaml_is_stored_and_fields_read_back_what_they_show(others: None, kind: str) -> None:
    form_class, model, identity, text = KINDS[kind]
    name, client = "https://id.example.com" if kind == "issuer" else "a", member_of("Owner")
    response = client.post(page_of(model), {identity: name, "syntax": "yaml", "yaml_text": text, **NO_INLINES})
    assert response.status_code == 302, response.context["adminform"].form.errors
    row = model._default_manager.get(**{identity: name})
    assert decoded(kind, form_class.row_settings(row).settings()) == decoded(kind, parse(text).structure)
    # Nothing changes by saving what is shown, in either form.
    before = model._default_manager.filter(pk=row.pk).values().get()
    url = page_of(model, row.pk)
    shown = browser_form(client.get(url))
    assert client.post(url, shown).status_code == 302
    assert model._default_manager.filter(pk=row.pk).values().get() == before
    assert client.post(url, {**shown, "syntax": "yaml"}).status_code == 302
    again = model._default_manager.get(pk=row.pk)
    assert decoded(kind, form_class.row_settings(again).settings()) == decoded(
        kind, form_class.row_settings(row).settings()
    )
    # Each field reads what it shows.
    form = client.get(url).context["adminform"].form
    settings = form_class.row_settings(row)
    read: dict[str, Any] = {}
    for each in form_class.plain:
        value = settings.stored(each)
        unset = value in (None, "")
        read[each] = form.fields[each].read(tidy(form.fields[each].show(UNSET if unset else value)))
    for each, section in form_class.sections.items():
        fields = {key.path: form.fields[field_name(each, key.path)] for key in section.keys}
        found = {
            path: field.read(tidy(field.show(assembly.value_at(settings.stored(each), path))))
            for path, field in fields.items()
        }
        read[each] = assembly.with_values({}, assembly.switch_of(settings.stored(each)), found) or UNSET
    rebuilt = {each: value for each, value in read.items() if value is not UNSET}
    kept = {each: value for each, value in settings.settings().items() if each in OWN}
    assert decoded(kind, {**rebuilt, **kept}) == decoded(kind, settings.settings())


NO_INLINES = {"identities-TOTAL_FORMS": "0", "identities-INITIAL_FORMS": "0"}


def rows(name: str, *items: tuple[str, ...], parts: tuple[str, ...]) -> dict[str, str]:
    """What a browser posts of a list of rows."""
    return {
        f"{name}-{index}-{part}": text
        for index, item in enumerate(items)
        for part, text in zip(parts, item, strict=True)
    }


def test_a_plan_is_made_of_fields(others: None) -> None:
    posted = {
        "name": "team",
        "offered": "on",
        **{f"rate_{index}": text for index, text in enumerate(("60", "", "m"))},
        **rows(
            "quota", ("10000", "month", "signup", ""), ("", "", "", ""), parts=("amount", "per", "anchor", "timezone")
        ),
        **rows("services", ("crm", ""), ("mail", "GET, POST"), parts=("service", "methods")),
        "ip__deny_0": "192.0.2.1",
    }
    assert member_of("Owner").post(page_of(Plan), posted).status_code == 302
    assert Plan.objects.get(name="team").to_document() == {
        "rate": "60/m",
        "quota": [{"amount": 10000, "per": "month", "anchor": "signup"}],
        "services": ["crm", {"mail": {"methods": ["GET", "POST"]}}],
        "ip": {"deny": ["192.0.2.1"]},
        "offered": True,
    }


@pytest.mark.parametrize(
    ("kind", "posted", "field", "message"),
    [
        ("webhook", {"verify": "slack", "secret": "a literal one"}, "secret", "a literal secret"),
        ("webhook", {"verify": "slack", "secret": "env:SECRET_KEY"}, "secret", "SECRET_KEY"),
        ("webhook", {"verify": "slack", "secret": "env:A", "forward__path": "x"}, "forward__path", "must be a path"),
        ("issuer", {"audience": "a", "services": "gone"}, "services", "there is no service"),
        ("issuer", {"audience": "a", **rows("require", ("a", "{}"), parts=("claim", "values"))}, "require", "must be"),
        (
            "issuer",
            {"audience": "a", "introspection__client_secret": "s3cr3t-in-plain"},
            "introspection__client_secret",
            "literal",
        ),
        ("alert", {"on": "nothing"}, "on", "must be a condition"),
        ("plan", rows("services", ("gone", ""), parts=("service", "methods")), "services", "there is no service"),
        ("plan", rows("quota", ("x", "day"), parts=("amount", "per")), "quota", "Quota 1: Enter a whole number"),
        ("consumer", {"burst": "5"}, "burst", "needs"),
    ],
)
def test_faults_are_at_their_fields(others: None, kind: str, posted: dict[str, str], field: str, message: str) -> None:
    _form, model, identity, _text = KINDS[kind]
    name = "https://id.example.com" if kind == "issuer" else "a"
    response = member_of("Owner").post(page_of(model), {identity: name, **posted, **NO_INLINES})
    assert response.status_code == 200
    assert message in str(response.context["adminform"].form.errors.get(field))
    assert not model._default_manager.filter(**{identity: name}).exists()


@pytest.mark.parametrize("kind", ["webhook", "issuer", "alert", "plan", "team", "consumer"])
def test_what_saving_would_change_is_shown_first_and_yaml_is_checked(others: None, kind: str) -> None:
    _form, model, identity, text = KINDS[kind]
    name, client = "https://id.example.com" if kind == "issuer" else "a", member_of("Owner")
    new = {"syntax": "yaml", "yaml_text": text, **NO_INLINES}
    client.post(page_of(model), {identity: name, **new})
    row = model._default_manager.get(**{identity: name})
    before = model._default_manager.filter(pk=row.pk).values().get()
    posted = browser_form(client.get(page_of(model, row.pk)))
    changed = posted | ({"concurrency": "77"} if kind in ("plan", "team", "consumer") else {"enabled": ""})
    answer = client.post(page_of(model, row.pk), {**changed, "_preview": "1"}).json()
    ((part, changes),) = answer["changed"].items()
    assert part.startswith(kind)
    assert [item["new"] for item in changes] == [77 if "concurrency" in changed else False]
    assert answer["takes_comment"] is (kind not in ("team", "consumer"))
    assert model._default_manager.filter(pk=row.pk).values().get() == before
    created = client.post(page_of(model), {identity: f"{name}2", "_preview": "1", **new}).json()
    assert len(created["created"]) == 1
    assert not model._default_manager.filter(**{identity: f"{name}2"}).exists()
    check = page_of(model, row.pk, "check")
    wrong = client.post(check, {identity: name, "syntax": "yaml", "yaml_text": "unknown: 1"}).json()
    assert "unknown key 'unknown'" in str(wrong["faults"])
    assert client.post(check, {**posted, "show": "1"}).json()["text"]


def test_an_identity_is_edited_beside_its_consumer(others: None) -> None:
    client = member_of("Owner")
    inline = {"identities-TOTAL_FORMS": "1", "identities-INITIAL_FORMS": "0", "identities-0-issuer": "certificate"}
    subject = {
        "identities-0-subject": "dns:a.example",
        "identities-0-scopes_0": "crm\nmail",
        "identities-0-scopes_1": "",
    }
    assert client.post(page_of(Consumer), {"name": "acme", "enabled": "on", **inline, **subject}).status_code == 302
    identity = ConsumerIdentity.objects.get()
    assert (identity.subject, identity.scopes) == ("dns:a.example", ["crm", "mail"])
    url = page_of(Consumer, identity.consumer_id)
    assert client.post(url, browser_form(client.get(url))).status_code == 302
    assert ConsumerIdentity.objects.get().scopes == ["crm", "mail"]


def test_what_a_preset_publishes_can_be_turned_off(others: None) -> None:
    client = member_of("Owner")
    posted = {
        "name": "slack",
        "enabled": "on",
        "preset": "slack",
        "secret": "env:GATEWAY_SECRET_A",
        "publish__switch": "off",
    }
    assert client.post(page_of(Webhook), posted).status_code == 302
    url = page_of(Webhook, Webhook.objects.get().pk)
    shown = browser_form(client.get(url))
    assert client.post(url, {**shown, "syntax": "yaml"}).status_code == 302
    assert decode_webhook("slack", raw_document()["webhooks"]["slack"], ANY_SECRET).publish is None
    assert canonical(raw_document())["webhooks"]["slack"]["publish"] is False
