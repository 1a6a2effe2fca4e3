"""Every parser that meets input from outside takes linear time: 32 kB of the worst we know, in milliseconds."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from ipaddress import ip_network
from typing import Any, Final

import pytest

from metrics import prometheus
from metrics.request_log.record import mask_query
from resilience.cache import directives, fields, invalidation, ranges
from resilience.cache.policy import CachePolicy, Scope
from resilience.holdoff.waits import announced_wait
from resilience.ratelimit.policy import RatePolicy
from routing.authentication import authenticator, id_token
from routing.authentication.certificates import pem, xfcc
from routing.authentication.signatures.components import SignedRequest, signature_base
from routing.authentication.signatures.content_digest import ContentDigest
from routing.authentication.signatures.policy import SignaturePolicy
from routing.authentication.signatures.signature_fields import read_signatures
from routing.caller import Caller
from routing.configuration import values
from routing.errors import GatewayError
from routing.http import Request, connection_options
from routing.http1.request_line import parse_target
from routing.idempotency import record
from routing.messages import forwarding, identifiers, origins, proxies, references, validation, via
from routing.messages.own_cookies import OwnCookies
from routing.messages.references import PublicAddress
from routing.realtime import event_id, messages, topics
from routing.realtime.limits import MAX_TOPIC_LENGTH
from routing.router.policy import RoutePolicy, Target
from routing.router.table import RoutePattern, RouteTable, Service
from routing.router.tags import parameter_values
from routing.structured_fields import InnerList, Item
from routing.webhooks import verification
from routing.webhooks.content import Content
from routing.webhooks.policy import Verify, Webhook
from tests.processor_time import milliseconds

SIZE: Final = 32_768
LIMIT: Final = 10.0
"""Milliseconds."""
PIECES: Final = (
    *(b"%c" % each for each in b'a/,; \t"\\=:.-0%{[(\x80'),
    *(b"a/", b"a,", b'a="', b'a="\\"', b'="', b'"a', b'"\\', b'a="a",', b"a=a;", b", ", b" ,", b"; ", b'a;b="', b"%2f"),
    *(b"../", b"1-2,", b"-1,", b"0-", b"a.", b".a", b"a-", b"for=a,", b'for="', b"[::", b"1.2.3.4, ", b"a@", b'W/"a'),
    *(b'"a",', b"\\\\", b"a:b/", "é".encode(), b"{a}", b"Mon, ", b"a=b&", b"gateway;", b'{"a":', b"a/b,", b"a;q=1,"),
)
WRAPPED: Final = (
    *((b"", b""), (b'a="', b""), (b"bytes=", b""), (b"https://", b"/"), (b"00-", b"-01"), (b"Bearer ", b"!")),
    *((b'"', b'"'), (b"/", b".json"), (b"Mon, 01 ", b" GMT"), (b"https://a.", b".example.com"), (b"doc:", b".json")),
)
PATTERN: Final = "doc:{a}/{b}/{c}.json"


TAGS: Final = (PATTERN, "{a}{b}{c}", "a{a}a{b}a{c}a")
ROUTES: Final = (RoutePattern("/*", (), RoutePolicy(cache=CachePolicy(scope=Scope.USER, tags=TAGS))),)
TABLE: Final = RouteTable([Service("crm", (Target("http://127.0.0.1:1"),), routes=ROUTES)])
ANYBODY: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))
WEBHOOKS: Final = tuple(
    Webhook(name="a", verify=verify, secrets=(b"k",))
    for verify in (Verify.SLACK, Verify.GITHUB, Verify.STRIPE, Verify.HUBSPOT_V3, Verify.STANDARD)
)
SIGNED: Final = (
    *(b"x-slack-signature", b"x-slack-request-timestamp", b"x-hub-signature-256", b"stripe-signature"),
    *(b"x-hubspot-signature-v3", b"x-hubspot-request-timestamp", b"webhook-id", b"webhook-signature"),
    b"webhook-timestamp",
)
WAITS: Final = (b"retry-after", b"retry-after-ms", b"ratelimit", b"x-ratelimit-reset", b"x-ratelimit-reset-requests")
CALLER: Final = Caller("key:a", scopes=frozenset({"*"}))


def request(data: bytes) -> Request:
    return Request("GET", data, data, [(b"host", data)], "")


def text(parse: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda data: parse(data.decode("latin-1"))


def route(data: bytes) -> None:
    path = (b"/" + data)[: validation.MAX_TARGET_BYTES]
    validation.validate_target(Request("GET", path, b"", [(b"host", b"h")], ""))
    TABLE.match("crm", "GET", path)


def topic(data: bytes) -> None:
    """Both as long as is allowed, and longer."""
    whole = data.decode("latin-1")
    for each in (whole, whole[:MAX_TOPIC_LENGTH]):
        for kind in ("", "tag:", "resource:/api/v1/crm", "tag:crm:doc:"):
            with suppress(topics.TopicRefused):
                topics.subscription_keys((kind + each)[:MAX_TOPIC_LENGTH], CALLER, TABLE)
    with suppress(topics.TopicRefused):
        topics.check_publishable(whole, CALLER, TABLE)


PARSERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "cache-control": lambda data: directives.parse([data]),
    "cdn-cache-control": lambda data: directives.parse_targeted([data]),
    "date": lambda data: fields.date([data]),
    "vary": lambda data: fields.names([data]),
    "variant": lambda data: fields.variant([(b"accept-language", data)], [b"accept-language"]),
    "surrogate-key": lambda data: fields.tags([(b"surrogate-key", data), (b"cache-tag", data)]),
    "cache-groups": lambda data: fields.groups([data]),
    "if-none-match": fields.entity_tags,
    "range": ranges._parse_ranges,
    "location": lambda data: invalidation.invalidated_tags(b"/a", b"", [(b"location", data)], b"/p"),
    "link": lambda data: references.rewrite_links(data, "http://b/base", PublicAddress(b"/p")),
    "refresh": lambda data: references.rewrite_refresh(data, "http://b/base", PublicAddress(b"/p")),
    "cookie's path": lambda data: references.rewrite_cookie(data, "http://b/base", PublicAddress(b"/p")),
    "rewritten location": lambda data: references.rewrite_absolute(
        data, "http://b/base", PublicAddress(b"/api/v1/crm", b"gateway.example")
    ),
    "via": lambda data: via.via([(b"via", data)]),
    "signature": lambda data: read_signatures(
        [(b"signature-input", data), (b"signature", data)], SignaturePolicy(), lambda _: True
    ),
    "content-digest": lambda data: ContentDigest.of([(b"content-digest", data)]),
    "structured field": lambda data: signature_base(
        SignedRequest("GET", "http", "h", b"/", data, [(b"x-a", data)]),
        InnerList((Item("x-a", {"sf": True}), Item("@query-param", {"name": "a"})), {}),
    ),
    "x-forwarded-client-cert": xfcc.parse_xfcc,
    "certificate in PEM": pem.parse_pem,
    "announced wait": lambda data: announced_wait([(name, data) for name in WAITS], 0.0),
    "masked query": mask_query,
    "webhook": lambda data: [
        verification.prepare(hook, verification.SignedRequest("POST", data, [(name, data) for name in SIGNED]), 0.0)
        for hook in WEBHOOKS
    ],
    "form": lambda data: Content.read(WEBHOOKS[0], [(b"content-type", b"application/x-www-form-urlencoded")], data),
    "cookie": lambda data: OwnCookies(frozenset({b"sessionid"})).strip(data),
    "set-cookie": lambda data: forwarding.to_client(
        [(b"set-cookie", data)], "http://b", PublicAddress(b"/p"), OwnCookies(frozenset({b"s"})), 200
    ),
    "connection": lambda data: connection_options([(b"connection", data)]),
    "authorization": lambda data: authenticator.read_credential([(b"authorization", data)]),
    "x-api-key": lambda data: authenticator.read_credential([(b"x-api-key", data)]),
    "token": text(lambda data: id_token.precheck(data, "project", 0.0)),
    "traceparent": identifiers.TRACEPARENT.fullmatch,
    "x-request-id": lambda data: identifiers.request_id(data, 0.0),
    "forwarded": proxies.parse_forwarded,
    "x-forwarded-for": lambda data: proxies.TrustedProxies(ANYBODY).origin(
        "10.0.0.1", "http", [(b"x-forwarded-for", data), (b"x-forwarded-proto", data), (b"x-forwarded-host", data)]
    ),
    "forwarded for": lambda data: proxies.TrustedProxies(ANYBODY).origin("10.0.0.1", "http", [(b"forwarded", data)]),
    "origin": text(origins.Origins(("https://*.example.com", "https://a.example.com")).contains),
    "idempotency-key": lambda data: record.idempotency_key([(b"idempotency-key", data)]),
    "accept": text(prometheus.negotiate),
    "last-event-id": text(event_id.parse_event_id),
    "host": lambda data: validation.validate_host([(b"host", data)], "1.1"),
    "transfer-encoding": lambda data: validation.validate_transfer_codings([(b"transfer-encoding", data)]),
    "target": lambda data: validation.validate_target(request(data)),
    "request line": lambda data: parse_target("GET", data, "1.1", [(b"host", b"h")]),
    "method": text(validation.validate_method),
    "route": route,
    "topic": topic,
    "tag": text(lambda data: parameter_values(PATTERN, data)),
    "message": messages.decode_message,
    "rate": text(RatePolicy.parse),
    "host name": text(values.host_name),
    "duration": text(values.duration),
    "tag setting": text(values.tag),
    "scope setting": text(values.scope),
}


def parse_any(parse: Callable[[bytes], Any], data: bytes) -> None:
    with suppress(ValueError, GatewayError, RecursionError, verification.Refused):
        parse(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_32_kb_of_anything_take_milliseconds(name: str) -> None:
    slow = {}
    for before, after in WRAPPED:
        for piece in PIECES:
            data = before + (piece * (SIZE // len(piece)))[: SIZE - len(before) - len(after)] + after
            taken = milliseconds(partial(parse_any, PARSERS[name], data), LIMIT)
            if taken > LIMIT:
                slow[before, piece, after] = f"{taken:.0f} ms"
    assert slow == {}
