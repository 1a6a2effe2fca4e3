"""Webhooks that begin with a preset, and what the events of each API end."""

import json
from base64 import b64encode
from typing import Any

import pytest

from routing.configuration.decode import decode, decode_service
from routing.configuration.faults import ConfigurationError
from routing.configuration.webhooks import decode_webhook
from routing.presets import shipped
from routing.webhooks.content import Content


def document(webhook: dict[str, Any]) -> dict[str, Any]:
    services = {"api": {"targets": [{"url": "http://a"}]}}
    return {"version": 1, "services": services, "webhooks": {"hook": {"service": "api", **webhook}}}


def faults(webhook: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        decode(document(webhook), lambda _name: "x")
    return "; ".join(f"{'.'.join(map(str, fault.path))}: {fault.message}" for fault in caught.value.faults)


def test_the_presets_with_webhooks() -> None:
    assert shipped.webhook_names() == ("github", "gmail", "google-calendar", "hubspot", "slack")


@pytest.mark.parametrize("name", shipped.webhook_names())
def test_a_preset_completes_a_webhook(name: str) -> None:
    own = {"audience": "https://a", "email": "push@a"} if name == "gmail" else {"secret": "signing"}
    decode(document({"preset": name, **own}), lambda _name: "x")


def test_own_settings_take_precedence() -> None:
    own = {"preset": "slack", "secret": "signing", "invalidates": ["channels"], "publish": None}
    webhook = decode_webhook("hook", own, lambda _name: "x")
    assert (webhook.invalidates, webhook.publish) == (("channels",), None)


def test_a_preset_of_another_kind_and_a_missing_secret_are_refused() -> None:
    assert "'secret' is required" in faults({"preset": "slack"})
    assert "must be one of github, gmail" in faults({"preset": "openai", "secret": "signing"})
    assert faults({"preset": "slak", "secret": "signing"}).startswith("webhooks.hook.preset: must be one of github")


def tags(name: str, body: Any, **fields: str) -> set[str]:
    """What a delivery ends, by the preset of its API."""
    own = {"audience": "https://a", "email": "push@a"} if name == "gmail" else {"secret": "signing"}
    webhook = decode_webhook("hook", {"preset": name, **own}, lambda _name: "x")
    headers = [(key.replace("_", "-").encode(), value.encode()) for key, value in fields.items()]
    raw = json.dumps(body).encode() if body is not None else b""
    content = Content.read(webhook, [*headers, (b"content-type", b"application/json")], raw)
    return {tag for template in webhook.invalidates for tag in content.fill(template)}


@pytest.mark.parametrize(
    ("event", "ended"),
    [
        ({"type": "message", "channel": "C1", "user": "U1"}, {"message", "message:C1"}),
        (
            {"type": "message", "subtype": "channel_topic", "channel": "C1"},
            {"message", "message:C1", "channel_topic"},
        ),
        ({"type": "channel_rename", "channel": {"id": "C1"}}, {"channel_rename", "channel_rename:C1"}),
        ({"type": "channel_archive", "channel": "C1", "user": "U1"}, {"channel_archive", "channel_archive:C1"}),
        ({"type": "reaction_added", "item": {"channel": "C1"}, "user": "U1"}, {"reaction_added", "reaction_added:C1"}),
        ({"type": "user_change", "user": {"id": "U1"}}, {"user_change", "user_change:U1"}),
        ({"type": "member_joined_channel", "channel": "C1"}, {"member_joined_channel", "member_joined_channel:C1"}),
    ],
)
def test_events_of_slack(event: dict[str, Any], ended: set[str]) -> None:
    delivery = {"type": "event_callback", "event_id": "E1", "event": event}
    assert tags("slack", delivery) == {"event_callback", *ended}


def test_events_that_slack_did_not_send_end_what_they_might_have_ended() -> None:
    told = {"type": "app_rate_limited", "team_id": "T1", "minute_rate_limited": 1518467820, "api_app_id": "A1"}
    assert tags("slack", told) == {"app_rate_limited"}
    service = decode_service("api", {"preset": "slack"}, lambda _name: "x")
    cached = [route.policy.cache for route in service.routes if route.policy.cache and route.policy.cache.ttl]
    assert len(cached) == 9
    assert all({"app_rate_limited", "tokens_revoked"} <= set(cache.tags) for cache in cached)


def test_a_push_of_gmail() -> None:
    data = b64encode(json.dumps({"emailAddress": "Ann@Example.com", "historyId": 7}).encode()).decode()
    push = {"message": {"data": data, "messageId": "1"}, "subscription": "projects/a/subscriptions/b"}
    assert tags("gmail", push) == {"mailbox:ann@example.com", "mailbox:me"}


def test_a_notification_of_a_calendar() -> None:
    uri = "https://www.googleapis.com/calendar/v3/calendars/ann@example.com/events?alt=json"
    fields = {"x_goog_resource_uri": uri, "x_goog_channel_id": "c", "x_goog_message_number": "7"}
    assert tags("google-calendar", None, **fields) == {f"resource:{uri}", "calendars"}


def test_events_of_hubspot() -> None:
    events = [{"objectId": 1, "subscriptionType": "contact.propertyChange"}, {"objectId": 2}]
    assert tags("hubspot", events) == {"object:1", "object:2", "objects"}
    association = [{"fromObjectId": 3, "toObjectId": 4, "subscriptionType": "contact.associationChange"}]
    assert tags("hubspot", association) == {"object:3", "object:4", "objects"}
    merge = [{"primaryObjectId": 5, "mergedObjectIds": [6, 7], "subscriptionType": "contact.merge"}]
    assert tags("hubspot", merge) == {"object:5", "object:6", "object:7", "objects"}


def test_an_event_of_github() -> None:
    assert tags("github", {"repository": {"full_name": "Acme/Site"}}) == {"github:acme/site"}
