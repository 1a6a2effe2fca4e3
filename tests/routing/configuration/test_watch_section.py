"""The `watch` of a webhook: its settings, and their faults."""

from typing import Any

import pytest

from routing.configuration.document import dump
from routing.configuration.faults import ConfigurationError
from routing.configuration.webhooks import decode_webhook
from routing.database.apply import apply_document
from routing.database.loader import raw_document
from routing.webhooks.policy import Watch, Webhook

TOPIC = "projects/p-1/topics/gmail"
GMAIL: dict[str, Any] = {"preset": "gmail", "service": "mail", "audience": "a", "email": "e@example.com"}
CALENDAR: dict[str, Any] = {"preset": "google-calendar", "service": "mail", "secret": "env:GATEWAY_SECRET_A"}
ADDRESS = "https://gateway.example.com/hooks/calendar"


def decoded(settings: dict[str, Any]) -> Webhook:
    return decode_webhook("hook", settings, lambda _: "value")


def test_the_defaults_are_the_accounts_own() -> None:
    assert decoded(GMAIL | {"watch": {"topic": TOPIC}}).watch == Watch(resources=("me",), base="/gmail/v1", topic=TOPIC)
    assert decoded(CALENDAR | {"watch": {"address": ADDRESS}}).watch == Watch(
        resources=("primary",), base="/calendar/v3", address=ADDRESS
    )
    assert decoded(GMAIL | {"watch": False}).watch is None
    assert decoded(GMAIL | {"watch": None}).watch is None


def test_a_watch_with_everything() -> None:
    watch = {
        "topic": TOPIC,
        "mailboxes": ["a@x.example", "b@x.example", "a@x.example"],
        "exclude_labels": ["SPAM"],
        "renew_before": "2d",
        "base": "",
    }
    assert decoded(GMAIL | {"watch": watch}).watch == Watch(
        resources=("a@x.example", "b@x.example"),
        base="",
        topic=TOPIC,
        labels=("SPAM",),
        excludes_labels=True,
        renew_before=172_800.0,
    )


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (GMAIL | {"watch": {}}, "needs 'topic'"),
        (GMAIL | {"watch": {"topic": "gmail"}}, "projects/PROJECT/topics/TOPIC"),
        (GMAIL | {"watch": {"topic": TOPIC, "address": ADDRESS}}, "watch.address: is for verify: google_channel"),
        (GMAIL | {"watch": {"topic": TOPIC, "labels": ["A"], "exclude_labels": ["B"]}}, "either"),
        (GMAIL | {"watch": {"topic": TOPIC, "mailboxes": []}}, "must be 1 to 1000"),
        (GMAIL | {"watch": {"topic": TOPIC, "mailboxes": [".."]}}, "is not an id"),
        (GMAIL | {"watch": {"topic": TOPIC, "renew_before": "1s"}}, "between 1m and 30d"),
        (GMAIL | {"watch": {"topic": TOPIC, "base": "/a/../b"}}, "must be a path"),
        (GMAIL | {"watch": {"topic": TOPIC, "bogus": 1}}, "unknown key 'bogus'"),
        (GMAIL | {"watch": "yes"}, "must be a mapping"),
        (GMAIL | {"service": None, "watch": {"topic": TOPIC}}, "needs 'service'"),
        (CALENDAR | {"watch": {}}, "needs 'address'"),
        (CALENDAR | {"watch": {"address": "http://gateway.example.com/hooks/x"}}, "must be https"),
        (CALENDAR | {"watch": {"address": "https://u:p@gateway.example.com/hooks/x"}}, "no user"),
        (CALENDAR | {"watch": {"address": ADDRESS, "calendars": ["a b"]}}, "without spaces"),
        ({"verify": "slack", "secret": "x", "watch": {"topic": TOPIC}}, "is for verify: google_pubsub"),
    ],
)
def test_an_invalid_watch_is_refused_with_the_reason(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        decoded(settings)
    assert fault in str(error.value)


@pytest.mark.django_db
def test_it_is_exported_as_it_was_applied() -> None:
    webhooks = {"calendar": CALENDAR | {"watch": {"address": ADDRESS, "calendars": ["primary"]}}}
    document = {"version": 1, "services": {"mail": {"targets": [{"url": "http://127.0.0.1:1"}]}}, "webhooks": webhooks}
    apply_document(document)
    assert dump(raw_document()) == dump(document)
