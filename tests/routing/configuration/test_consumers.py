"""Plans, teams and consumers in the configuration file."""

from typing import Any

import pytest

from routing.configuration.consumers import decode_limits, decode_plan
from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError
from routing.consumers.policy import ServiceAccess

FILE = """
version: 1
services:
  crm: {targets: [{url: "http://127.0.0.1:1"}]}
  slackIntelligence: {targets: [{url: "http://127.0.0.1:2"}]}
plans:
  free:
    rate: 60/m
    burst: 10
    quota: [{amount: 10000, per: month, anchor: calendar, timezone: Europe/Berlin}]
    services: [crm, {slackIntelligence: {methods: [GET]}}]
    concurrency: 5
    offered: true
teams:
  acme: {plan: free, quota: [{amount: 50000, per: month, anchor: signup}]}
consumers:
  alice@example.com: {team: acme, plan: free, signed_up: "2026-01-31T10:00:00+01:00",
    identities: [{issuer: "https://id.example.com", subject: a1}]}
  4711: {plan: free}
"""


def faults_of(text: str) -> list[str]:
    document = parse(text)
    with pytest.raises(ConfigurationError) as caught:
        document.services(lambda _: "")
    return [str(fault) for fault in caught.value.faults]


def changed(old: str, new: str) -> list[str]:
    assert old in FILE
    return faults_of(FILE.replace(old, new))


def test_a_plan_is_decoded_with_all_its_limits() -> None:
    plan = decode_plan("free", parse(FILE).structure["plans"]["free"])
    assert str(plan.limits.rate) == "60/60s"
    assert (plan.limits.burst, plan.limits.concurrency) == (10, 5)
    assert plan.limits.quotas[0].timezone == "Europe/Berlin"
    assert plan.services == (ServiceAccess("crm"), ServiceAccess("slackIntelligence", ("GET",)))


def test_the_canonical_text_is_stable_and_has_no_defaults() -> None:
    document = parse(FILE)
    document.services(lambda _: "")
    text = dump(document.structure)
    assert dump(parse(text).structure) == text
    assert "anchor: calendar" not in text
    assert "offered: false" not in dump(parse(FILE.replace("offered: true", "offered: false")).structure)
    assert "2026-01-31T09:00:00Z" in text


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("offered: true", "offered: perhaps", "line 13: plans.free.offered"),
        ("rate: 60/m", "rate: fast", "line 8: plans.free.rate: 'fast' is not a rate"),
        ("burst: 10", "burst: 61", "burst must be at most the rate's"),
        ("    rate: 60/m\n", "", "burst needs a rate"),
        ("amount: 10000, ", "", "a quota needs 'amount'"),
        ("per: month, anchor: calendar", "per: fortnight", "quota[0].per: must be hour, day, week, month or year"),
        ("Europe/Berlin", "Europe/Atlantis", "timezone must be a name such as Europe/Berlin"),
        ("Europe/Berlin", "../../etc/passwd", "timezone must be a name such as Europe/Berlin"),
        ("[crm, ", "[crm, crm, ", "'crm' is listed twice"),
        ("[crm, ", "[billing, ", "there is no service 'billing'"),
        ("methods: [GET]", "methods: [get]", "methods must be in capitals"),
        ("team: acme", "team: umbrella", "there is no team 'umbrella'"),
        ("acme: {plan: free", "acme: {plan: gold", "there is no plan 'gold'"),
        ("+01:00", "", "must have an offset from UTC"),
        (", subject: a1", "", "an identity needs 'subject' or 'tenant'"),
        ("  4711:", "  '-x':", "'-x' is not a name"),
        ("concurrency: 5", "concurrency: 0", "must be from 1"),
        ("4711: {plan: free}", "4711: {plan: free, plann: 1}", "unknown key 'plann' (did you mean 'plan'?)"),
        (
            "4711: {plan: free}",
            '4711: {identities: [{issuer: "https://id.example.com", subject: a1}]}',
            "is already an identity of alice@example.com",
        ),
    ],
)
def test_faults_say_where_and_what(old: str, new: str, expected: str) -> None:
    found = changed(old, new)
    assert any(expected in fault for fault in found), found


@pytest.mark.parametrize("value", [{"rate": 5}, {"services": []}, [], {"quota": {"amount": 1}}])
def test_limits_of_a_key_have_the_same_form(value: Any) -> None:
    with pytest.raises((ConfigurationError, ValueError)):
        decode_limits(value)


def test_two_quotas_for_the_same_period_are_refused() -> None:
    found = changed("timezone: Europe/Berlin}]", "timezone: Europe/Berlin}, {amount: 5, per: month}]")
    assert any("one amount for each 'per'" in fault for fault in found)
