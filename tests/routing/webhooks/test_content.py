"""What is read from a delivery: fields for templates, ids, handshakes; and what becomes of bad input."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import BadRequest
from routing.http import Headers
from routing.webhooks.content import Content, handshake, identity
from routing.webhooks.delivery import MAX_EVENT_BYTES, DeliveryWork, plan, retry_delay
from routing.webhooks.policy import MAX_TAGS, HmacForm, Publish, Verify
from tests.routing.webhooks.providers import webhook

JSON: Headers = [(b"content-type", b"application/json; charset=utf-8")]


def read(body: Any, kind: Verify = Verify.SLACK, headers: Headers = JSON) -> Content:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Content.read(webhook(kind), headers, raw)


def planned(body: Any, *tags: str, kind: Verify = Verify.SLACK, headers: Headers = JSON, **more: Any) -> DeliveryWork:
    hook = webhook(kind, service="crm", invalidates=tags, **more)
    return plan(hook, read(body, kind, headers), "id1")


@pytest.mark.parametrize(
    ("body", "template", "tags"),
    [
        ({"event": {"channel": "C1"}}, "channel:{event.channel}", ("channel:C1",)),
        ({"event": {"channel": {"id": "C1"}}}, "channel:{event.channel.id}", ("channel:C1",)),
        ({"event": {"channel": {"id": "C1"}}}, "channel:{event.channel}", ()),
        ({"n": 7, "b": True}, "x:{n}:{b}", ("x:7:true",)),
        ({"r": ["Acme/Site", "acme/site"]}, "{r|lower}", ("acme/site",)),
        ({"r": "Acme"}, "{r}:{r|lower}", ("Acme:acme",)),
        ({"n": None}, "x:{n}", ()),
        ({"n": ""}, "x:{n}", ()),
        ({"n": 1.5}, "x:{n}", ()),
        ({"ids": ["a", "b", "a"]}, "x:{ids}", ("x:a", "x:b")),
        ([{"objectId": 1}, {"objectId": 2}, {}], "contact:{objectId}", ("contact:1", "contact:2")),
        ({"e": {"errors": [{"r": "a"}, {"r": "b"}]}}, "x:{e.errors.r}", ("x:a", "x:b")),
        ({"e": {"errors": [{"r": "a"}, {"r": "b"}]}}, "x:{e.errors.1.r}", ("x:b",)),
        ({"e": {"errors": []}}, "x:{e.errors.0.r}", ()),
        ({"a": ["1", "2"], "b": ["3", "4"]}, "{a}-{b}", ("1-3", "1-4", "2-3", "2-4")),
        ({"a": "{b}", "b": "c"}, "x:{a}", ("x:{b}",)),
        ({"a": "*"}, "{a}", ()),
        ({"a": "crm"}, "{a}", ()),
        ({"a": "x" * 201}, "x:{a}", ()),
        ({}, "slack:everything", ("slack:everything",)),
        ("text", "x:{a}", ()),
    ],
)
def test_templates_of_tags(body: Any, template: str, tags: tuple[str, ...]) -> None:
    assert planned(body, template).tags == tags


def test_only_the_configuration_names_the_whole_service() -> None:
    assert planned({}, "*").tags == ("*",)
    assert planned({}, "crm", "other").tags == ("*",)
    assert planned({"a": ["*", "crm"]}, "{a}") == DeliveryWork((), (), 1)


def test_a_template_without_a_value_is_left_out_and_counted() -> None:
    assert planned({"a": 1}, "a:{a}", "b:{b}", "c:{a}:{b}") == DeliveryWork(("a:1",), (), 2)


def test_too_many_tags_end_everything() -> None:
    """So that none is left out."""
    some, many = list(range(MAX_TAGS)), list(range(MAX_TAGS + 1))
    assert planned({"a": [*some, *some]}, "a:{a}").tags == tuple(f"a:{number}" for number in some)
    for body, templates in (
        ({"a": many}, ["a:{a}"]),
        ({"a": some}, ["a:{a}", "b"]),
        ({"a": [1, 2], "b": some}, ["{a}-{b}"]),
        ({"a": [1] * 2_000}, ["a:{a}"]),
        ([{"a": 1}] * 2_000, ["a:{a}"]),
    ):
        assert planned(body, *templates).tags == ("*",)


def test_what_is_published_of_many_values_is_bounded() -> None:
    publish = Publish(topic="a:{a}", data={"a": "{a}"})
    events = planned({"a": list(range(5_000))}, publish=publish).events
    assert len(events) == len(events[0][1]["a"]) == MAX_TAGS


def test_header_fields_and_the_data_of_a_push() -> None:
    headers: Headers = [(b"x-goog-channel-id", b"team-calendar")]
    assert planned(b"", "calendar:{header.X-Goog-Channel-ID}", headers=headers).tags == ("calendar:team-calendar",)
    data = b64encode(json.dumps({"emailAddress": "ada@example.com", "historyId": 9}).encode()).decode()
    push: dict[str, Any] = {"message": {"data": data, "messageId": "1"}, "subscription": "s"}
    assert planned(push, "mailbox:{data.emailAddress}", kind=Verify.GOOGLE_PUBSUB).tags == ("mailbox:ada@example.com",)
    for wrong in ("no base64", "AAAA", "", 7, None):
        push = {"message": {"data": wrong}}
        assert planned(push, "mailbox:{data.emailAddress}", kind=Verify.GOOGLE_PUBSUB).tags == ()


def test_a_form_and_its_payload() -> None:
    form: Headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    body = b"command=%2Fsync&channel_id=C1&payload=%7B%22user%22%3A%7B%22id%22%3A%22U1%22%7D%7D"
    assert planned(body, "channel:{channel_id}", "user:{payload.user.id}", headers=form).tags == (
        "channel:C1",
        "user:U1",
    )
    assert planned(b'{"a": 1}', "x:{a}", headers=form).tags == ("x:1",)
    github = b"payload=%7B%22repository%22%3A%7B%22full_name%22%3A%22a/b%22%7D%7D"
    tags = "github:{repository.full_name}", "{payload.repository.full_name}"
    assert planned(github, *tags, kind=Verify.GITHUB, headers=form).tags == ("github:a/b", "a/b")
    assert planned(b"payload=x", *tags, kind=Verify.GITHUB, headers=form).tags == ()
    with pytest.raises(BadRequest):
        read(b"a=%ff", headers=form)
    with pytest.raises(BadRequest):
        read(b"&".join([b"a=1"] * 2_000), headers=form)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"not json",
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"a": NaN}',
        b'{"a": 1e999',
        b'{"a": "\xff"}',
        b'\xff\xfe{\x00"\x00a\x00"\x00:\x001\x00}\x00',
        b"{} {}",
    ],
)
def test_bad_json_is_refused_if_the_body_claims_to_be_json(raw: bytes) -> None:
    for headers in (JSON, []):
        with pytest.raises(BadRequest):
            read(raw, headers=headers)
    assert read(raw, headers=[(b"content-type", b"text/xml")]).body is None


def test_a_text_that_was_cut_within_a_character_does_not_lose_the_delivery() -> None:
    for raw in (rb'{"channel": "C1", "text": "cut \ud83d"}', b'\xef\xbb\xbf{"channel": "C1"}'):
        found = planned(raw, "channel:{channel}")
        assert found.tags == ("channel:C1",)
        assert msgspec.json.encode(read(raw).body)


@pytest.mark.parametrize("alphabet", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("padding", [b"=", b""])
def test_data_of_a_push_in_either_alphabet(alphabet: Callable[[bytes], bytes], padding: bytes) -> None:
    data = alphabet(b'{"emailAddress": "a?\xc3\xbf>~@example.com", "h": 1}').rstrip(b"=") + padding
    content = read({"message": {"data": data.decode()}}, Verify.GOOGLE_PUBSUB)
    assert content.values("data.emailAddress") == ["a?\u00ff>~@example.com"]


def test_json_of_a_hundred_levels_and_repeated_keys_are_read() -> None:
    deep = b'{"a":' * 100 + b"1" + b"}" * 100
    assert planned(deep, "x:{" + ".".join(["a"] * 100) + "}").tags == ("x:1",)
    assert planned(b'{"a": 1, "a": 2}', "x:{a}").tags == ("x:2",)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.sampled_from("abc"), c),
    )
)
def test_no_body_breaks_a_template(body: Any) -> None:
    for tag in planned(body, "{a}", "x:{a.b}:{c}", "{b.0.a}").tags:
        assert tag not in ("*", "crm")


def test_handshakes() -> None:
    challenge = read({"type": "url_verification", "challenge": 'a"b'})
    assert handshake(webhook(Verify.SLACK), challenge) == b'{"challenge":"a\\"b"}'
    assert handshake(webhook(Verify.GITHUB), challenge) is None
    sync = Content([(b"x-goog-resource-state", b"sync")], None)
    assert handshake(webhook(Verify.GOOGLE_CHANNEL), sync) == b"{}"
    assert handshake(webhook(Verify.GOOGLE_CHANNEL), Content([(b"x-goog-resource-state", b"exists")], None)) is None


def key(kind: Verify, body: Any, headers: Headers = JSON, **more: Any) -> str:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return identity(webhook(kind, **more), read(raw, kind, headers), raw).key


def test_a_retry_has_the_id_of_the_first_delivery() -> None:
    assert key(Verify.SLACK, {"event_id": "E1", "x": 1}) == key(Verify.SLACK, {"event_id": "E1", "x": 2})
    assert key(Verify.SLACK, {"event_id": "E1"}) != key(Verify.SLACK, {"event_id": "E2"})
    assert key(Verify.STRIPE, {"id": "evt_1"}) != key(Verify.SLACK, {"event_id": "evt_1"})
    assert key(Verify.GITHUB, {}, [(b"x-github-delivery", b"1")]) == key(
        Verify.GITHUB, {"a": 1}, [(b"x-github-delivery", b"1")]
    )
    svix = [key(Verify.STANDARD, {"a": n}, [(b"svix-id", b"1")]) for n in range(2)]
    assert len({*svix, key(Verify.STANDARD, {}, [(b"svix-id", b"2")])}) == 2
    push = {"subscription": "s", "message": {"messageId": "1"}}
    assert key(Verify.GOOGLE_PUBSUB, push) != key(Verify.GOOGLE_PUBSUB, {**push, "subscription": "t"})
    channel = [(b"x-goog-channel-id", b"c"), (b"x-goog-message-number", b"1")]
    assert key(Verify.GOOGLE_CHANNEL, b"", channel) != key(
        Verify.GOOGLE_CHANNEL, b"", [*channel[:1], (b"x-goog-message-number", b"2")]
    )


def test_hubspots_retries_differ_in_the_number_of_the_attempt_alone() -> None:
    event = {"eventId": 1, "subscriptionId": 2, "portalId": 3, "objectId": 4, "occurredAt": 5, "attemptNumber": 0}
    again = {**event, "attemptNumber": 1}
    other = {**event, "objectId": 5}
    assert key(Verify.HUBSPOT_V3, [event, other]) == key(Verify.HUBSPOT_V3, [other, again])
    assert key(Verify.HUBSPOT_V3, [event]) != key(Verify.HUBSPOT_V3, [other])


def test_without_an_id_the_body_and_its_time_decide() -> None:
    timed = {"hmac": HmacForm(header="x-s", timestamp_header="x-t", template="{timestamp}{body}")}
    assert key(Verify.HMAC, {}, [(b"x-t", b"1")], **timed) != key(Verify.HMAC, {}, [(b"x-t", b"2")], **timed)
    assert key(Verify.HMAC, {"a": 1}) == key(Verify.HMAC, {"a": 1})
    brief = identity(webhook(Verify.HMAC), read({}, Verify.HMAC), b"{}")
    assert brief.seconds < identity(webhook(Verify.SLACK), read({"event_id": "1"}), b"").seconds
    assert key(Verify.SHARED_TOKEN, {"a": 1}, id="{a}") == key(Verify.SHARED_TOKEN, {"a": 1, "b": 2}, id="{a}")


def test_what_subscribers_learn() -> None:
    body = {"event": {"type": "message", "channel": "C1"}}
    named = {"webhook": "slack", "id": "id1"}
    for data, expected in (
        ("body", body),
        ("none", named),
        (
            {"channel": "{event.channel}", "missing": "{x}", "fixed": "y"},
            {"channel": "C1", "missing": None, "fixed": "y"},
        ),
    ):
        publish = Publish(topic="slack:{event.type}", data=data)
        assert planned(body, publish=publish).events == (("slack:message", expected),)
    publish = Publish(topic="slack:{event.type}")
    assert planned({"event": {}}, publish=publish) == DeliveryWork((), (), 1)
    large = {**body, "x": "y" * MAX_EVENT_BYTES}
    assert planned(large, publish=publish).events == (("slack:message", {**named, "truncated": True}),)
    assert planned({"event": {"type": "a\nb"}}, publish=publish).events == ()


def test_tries_are_further_and_further_apart() -> None:
    assert [retry_delay(tries) for tries in (1, 2, 3, 4, 5, 20)] == [1, 4, 16, 64, 256, 300]
