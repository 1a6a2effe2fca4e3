"""The `alerts` of a configuration, and the objectives of services: parsing, canonical form, secrets and storage."""

from base64 import b64encode
from typing import Any

import pytest

from routing.alerts.policy import ConditionKind, RecipientKind
from routing.configuration.alert_conditions import condition
from routing.configuration.alert_recipients import recipient_of_label
from routing.configuration.alerts import decode_alert, decode_each_alert
from routing.configuration.decode import decode_service
from routing.configuration.document import canonical, dump, parse
from routing.configuration.faults import ConfigurationError
from routing.database.apply import absent_names, apply_document
from routing.database.document_diff import document_diff
from routing.database.loader import load, raw_document
from routing.database.references import references
from routing.models import AlertRule, Service
from routing.router.objectives import LatencyObjective, Objectives

KEY = b"0123456789abcdef01234567"
SECRETS = {
    "GATEWAY_SECRET_SLACK": "https://hooks.slack.com/services/T0/B0/x",
    "GATEWAY_SECRET_ALERTS": "whsec_" + b64encode(KEY).decode(),
    "GATEWAY_SECRET_PAGERDUTY": "r0uting\n",
}
DOCUMENT = """
version: 1
services:
  crm: {targets: [{url: "http://127.0.0.1:1"}], slo: {availability: 99.9, latency: 300ms@95}}
alerts:
  - on: circuit.open
    to: [slack:env:GATEWAY_SECRET_SLACK, "email:oncall@example.com"]
  - name: budgets
    on: [budget.80, burn_rate.fast]
    services: crm
    to:
      - {webhook: "https://example.com/alerts", secret: "env:GATEWAY_SECRET_ALERTS"}
      - {pagerduty: "env:GATEWAY_SECRET_PAGERDUTY", url: "https://events.eu.pagerduty.com/v2/enqueue"}
    repeat: 2h
    resolve_after: 0s
    enabled: false
"""


def faults(*items: dict[str, Any]) -> str:
    document = {"version": 1, "services": {}, "alerts": list(items)}
    with pytest.raises(ConfigurationError) as caught:
        parse(dump_json(document)).services(SECRETS.get)
    return str(caught.value)


def dump_json(document: object) -> str:
    import json

    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "kind", "threshold", "window"),
    [
        ("circuit.open", ConditionKind.CIRCUIT, 0, None),
        ("error_rate > 5% for 5m", ConditionKind.ERROR_RATE, 0.05, 300),
        ("p99>2s  for 5m", ConditionKind.P99, 2, 300),
        ("p95 > 250ms", ConditionKind.P95, 0.25, None),
        ("hit_rate < 40%", ConditionKind.HIT_RATE, 0.4, None),
        ("budget.80", ConditionKind.BUDGET, 80, None),
        ("quota.100", ConditionKind.QUOTA, 100, None),
        ("certificate.14d", ConditionKind.CERTIFICATE, 14, None),
        ("webhook.failing", ConditionKind.WEBHOOK, 0, None),
    ],
)
def test_conditions(text: str, kind: ConditionKind, threshold: float, window: float | None) -> None:
    found = condition(text)
    assert (found.kind, found.window) == (kind, window)
    assert found.threshold == pytest.approx(threshold)
    assert condition(found.text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("circuit.closed", "must be a condition such as circuit.open"),
        ("error_rate > 5", "a percentage"),
        ("error_rate > 500%", "a percentage"),
        ("error_rate < 5%", "compared with >"),
        ("hit_rate > 5%", "compared with <"),
        ("p99 > 2%", "a duration"),
        ("p42 > 2s", "not measured"),
        ("p99 > 2s for 90s", "whole minutes"),
        ("p99 > 2s for 16m", "whole minutes"),
        ("quota.50", "quota.80 or quota.100"),
        ("budget.0", "budget.1 to budget.100"),
        ("budget.80d", "in percent"),
        ("certificate.14", "certificate.14d"),
        (["circuit.open", 5], "on[1]"),
        ([], "1 to 50"),
    ],
)
def test_a_wrong_condition_says_what_is_accepted(text: object, message: str) -> None:
    assert message in faults({"on": text, "to": "email:a@example.com"})


@pytest.mark.parametrize(
    ("recipient", "message"),
    [
        ("carrier-pigeon:x", "must begin with one of slack:"),
        ("slack:https://hooks.slack.com/services/T0/B0/x", "must be env:GATEWAY_SECRET_NAME"),
        ("slack:env:GATEWAY_SECRET_PAGERDUTY", "must be an https URL"),
        ("slack:env:GATEWAY_SECRET_NONE", "GATEWAY_SECRET_NONE is not set"),
        ("pagerduty:Bearer env:GATEWAY_SECRET_PAGERDUTY", "alone"),
        ("email:a@example.com\nBcc: b@example.com", "is not an email address"),
        ("email:nobody", "is not an email address"),
        ("webhook:http://example.com/", "http is for this machine alone"),
        ("webhook:https://user:pass@example.com/", "without a user"),
        ("webhook:file:///etc/passwd", "is not set"),
        ("webhook:gopher://example.com/", "must be an https URL"),
        ({"webhook": "https://example.com", "secret": "whsec_abc"}, "must be env:"),
        ({"webhook": "https://example.com", "secret": "env:GATEWAY_SECRET_PAGERDUTY"}, "must have whsec_"),
        ({"slack": "env:GATEWAY_SECRET_SLACK"}, "must be {webhook"),
        ({"webhook": "https://example.com", "key": "x"}, "unknown key"),
        (5, "must be a string"),
    ],
)
def test_a_wrong_recipient_is_refused_and_no_secret_is_told(recipient: object, message: str) -> None:
    found = faults({"on": "circuit.open", "to": [recipient]})
    assert message in found
    assert "r0uting" not in found
    assert "T0/B0" not in found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": "email:a@example.com"}, "'on' is required"),
        ({"on": "circuit.open"}, "'to' is required"),
        ({"on": "circuit.open", "to": []}, "1 to 50"),
        ({"on": "circuit.open", "to": "email:a@example.com", "repeat": "59m"}, "from 1h"),
        ({"on": "circuit.open", "to": "email:a@example.com", "services": ["crm"]}, "there is no service 'crm'"),
        ({"on": "circuit.open", "to": "email:a@example.com", "name": ""}, "1 to 100"),
        ({"on": "circuit.open", "to": "email:a@example.com", "when": "x"}, "unknown key"),
    ],
)
def test_a_wrong_setting(settings: dict[str, Any], message: str) -> None:
    assert message in faults(settings)


def test_two_alerts_need_two_names() -> None:
    assert "there is another alert" in faults(
        {"on": "circuit.open", "to": "email:a@example.com"}, {"on": "circuit.open", "to": "email:b@example.com"}
    )


def test_recipients_have_names_without_secrets_and_addresses() -> None:
    alert = decode_alert(parse(DOCUMENT).structure["alerts"][1], SECRETS.get)
    webhook, pagerduty = alert.recipients
    assert (webhook.kind, webhook.label, webhook.address, webhook.key) == (
        *(RecipientKind.WEBHOOK, "webhook:https://example.com/alerts", "https://example.com/alerts"),
        KEY,
    )
    assert pagerduty.key == b"r0uting"
    assert pagerduty.address == "https://events.eu.pagerduty.com/v2/enqueue"
    slack = decode_alert(parse(DOCUMENT).structure["alerts"][0], SECRETS.get).recipients[0]
    assert slack.address == SECRETS["GATEWAY_SECRET_SLACK"]
    assert "hooks.slack.com" not in repr(alert) + repr(slack)


def test_a_missing_secret_silences_its_own_recipient_alone() -> None:
    item = {"on": "circuit.open", "to": ["slack:env:GATEWAY_SECRET_NONE", "email:a@example.com"]}
    [alert] = decode_each_alert([item], SECRETS.get)
    assert [recipient.label for recipient in alert.recipients] == ["email:a@example.com"]
    assert alert.enabled
    assert "GATEWAY_SECRET_NONE is not set" in alert.faults[0]
    [nobody] = decode_each_alert([{"on": "circuit.open", "to": "slack:env:GATEWAY_SECRET_NONE"}], SECRETS.get)
    assert not nobody.enabled
    [broken] = decode_each_alert([{"name": "x", "on": "circuit.ajar", "to": "email:a@example.com"}], SECRETS.get)
    assert (broken.name, broken.enabled) == ("x", False)


def test_the_canonical_form_leaves_out_what_is_the_default() -> None:
    first, second = canonical(parse(DOCUMENT).structure)["alerts"]
    assert list(first) == ["name", "on", "services", "to", "repeat", "resolve_after", "enabled"]
    assert first["to"][0] == "webhook:https://example.com/alerts"
    assert second == {"on": "circuit.open", "to": ["slack:env:GATEWAY_SECRET_SLACK", "email:oncall@example.com"]}
    again = dump(parse(dump(parse(DOCUMENT).structure)).structure)
    assert again == dump(parse(DOCUMENT).structure)


@pytest.mark.django_db
def test_alerts_are_applied_exported_and_removed() -> None:
    structure = parse(DOCUMENT).structure
    changes = apply_document(structure)
    assert set(changes.created) == {"crm", "alert circuit.open", "alert budgets"}
    assert not apply_document(structure)
    assert canonical(raw_document()) == canonical(structure)
    table = load(SECRETS.get).table
    assert [alert.name for alert in table.alerts] == ["budgets", "circuit.open"]
    assert not table.alerts[0].enabled
    assert table.services["crm"].slo == Objectives(availability=0.999, latency=LatencyObjective(0.3, 0.95))
    assert references(Service.objects.all()) == ["alert budgets: is about crm"]
    without = {**structure, "alerts": structure["alerts"][:1]}
    assert absent_names(without) == ("alert budgets",)
    diff = document_diff(canonical(structure), canonical(without))
    assert list(diff.deleted) == ["alert budgets"]
    assert apply_document(without).deleted == ("alert budgets",)
    assert [row.name for row in AlertRule.objects.all()] == ["circuit.open"]
    with pytest.raises(ConfigurationError, match="there is no service 'crm'"):
        apply_document({**structure, "services": {}})


@pytest.mark.parametrize(
    ("slo", "message"),
    [
        ({}, "needs availability, latency or both"),
        ({"availability": 100}, "below 100"),
        ({"availability": 0.999}, "from 50"),
        ({"latency": "300ms"}, "300ms@95"),
        ({"latency": "0s@95"}, "above 0"),
        ({"latency": "300ms@100"}, "below 100"),
        ({"availability": 99, "window": "36h"}, "whole days"),
        ({"availability": 99, "window": "91d"}, "whole days"),
    ],
)
def test_an_invalid_objective_is_refused_with_the_reason(slo: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match="slo") as caught:
        decode_service("crm", {"targets": [{"url": "http://127.0.0.1:1"}], "slo": slo}, SECRETS.get)
    assert message in str(caught.value)


@pytest.mark.parametrize("size", [24, 31, 32, 33, 64])
@pytest.mark.parametrize("padding", ["", "="])
def test_a_key_of_any_length_is_read_with_or_without_its_padding(size: int, padding: str) -> None:
    text = b64encode(KEY * 3)[: (size * 4 + 2) // 3].decode() + padding
    secrets = {"GATEWAY_SECRET_ALERTS": f"whsec_{text}"}
    alert = decode_alert({"on": "circuit.open", "to": "webhook:https://example.com"}, secrets.get)
    assert len(alert.recipients[0].key) == size


def test_a_recipient_that_was_removed_is_read_from_its_label() -> None:
    to = ["slack:env:GATEWAY_SECRET_SLACK", "email:oncall@example.com", "webhook:https://example.com/alerts"]
    own_key = {"webhook": "https://example.com/alerts", "secret": "env:GATEWAY_SECRET_OTHER"}
    europe = {"pagerduty": "env:GATEWAY_SECRET_PAGERDUTY", "url": "https://events.eu.pagerduty.com/v2/enqueue"}
    secrets = {**SECRETS, "GATEWAY_SECRET_OTHER": SECRETS["GATEWAY_SECRET_ALERTS"]}
    alert = decode_alert({"on": "circuit.open", "to": [*to, own_key, europe]}, secrets.get)
    assert [recipient_of_label(each.label, secrets.get) for each in alert.recipients] == list(alert.recipients)
    for label in ("slack:env:GATEWAY_SECRET_GONE", "webhook:http://10.0.0.1/", "carrier pigeon", "webhook:", ""):
        assert recipient_of_label(label, secrets.get) is None
