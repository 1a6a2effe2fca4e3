"""Signed requests (RFC 9421) through each entry point: who the caller is, and every way in which one can be wrong."""

from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.test import override_settings

from resilience.outage import StoreUnavailable
from resilience.ratelimit.policy import RatePolicy
from routing import runtime
from routing.authentication.api_keys import ApiKeys, KeyRecord, digest
from routing.authentication.signatures.algorithms import SignatureAlgorithm
from routing.authentication.signatures.keys import SigningKey
from routing.authentication.signatures.policy import NonceRule, SignaturePolicy
from routing.configuration.consumers import decode_plan
from routing.consumers.policy import Plan, ServiceAccess
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable
from routing.gateway_rules import GatewayRules
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import RouteTable
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.entry_points import ReceivedResponse, install
from tests.gateway.test_nine_steps import ok
from tests.signing import SECRET, Field, Signer

PATH = "/api/v1/crm/contacts"
URI = f"http://gateway.test{PATH}"
NETWORKS = (ip_network("10.0.0.0/8"),)
PROXY = "10.0.0.1"
POLICY = RoutePolicy(timeout=QUICK, cache=None)
CONSUMERS = {
    1: ConsumerRecord(1, "acme", True, 0.0),
    2: ConsumerRecord(2, "closed", False, 0.0),
    3: ConsumerRecord(3, "small", True, 0.0, plan="small"),
}
PLANS = {"small": Plan(name="small", services=(ServiceAccess("other"),))}
signer, program = Signer(), Signer("acme-hmac", SECRET)


def key(signing: Signer = signer, **changes: Any) -> SigningKey:
    fields = {
        "keyid": signing.keyid,
        "algorithm": SignatureAlgorithm.ED25519,
        "material": signing.public_key,
        "consumer": 1,
    }
    return SigningKey(**{**fields, **changes})


def secret_key(signing: Signer = program, **changes: Any) -> SigningKey:
    return key(signing, algorithm=SignatureAlgorithm.HMAC_SHA256, material=SECRET, **changes)


@pytest.fixture(params=["http1", "asgi", "django"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    rules = GatewayRules(rate=RatePolicy(1_000, 60), trusted_proxies=NETWORKS, max_body_bytes=100_000)
    with override_settings(CONFIG=msgspec.structs.replace(settings.CONFIG, trusted_proxies=NETWORKS)):
        made = make_world(request.param, rules)
        install(made.gateway)
        await runtime.current().start()
        yield made
        await runtime.current().stop()
        await made.close()


@pytest.fixture
async def one() -> AsyncIterator[World]:
    """Rules that are the same for every entry point."""
    made = make_world("asgi")
    yield made
    await made.close()


def accept(world: World, *keys: SigningKey) -> None:
    """Let the gateway know these keys, and the consumers that have them."""
    table = world.live.table
    world.live.table = RouteTable(table.services.values(), signing_keys=keys or (key(), secret_key()))
    record = KeyRecord(prefix="ours", digest=digest(world.key), name="ours", scopes=frozenset({"*"}))
    world.live.keys = ApiKeys([record], ConsumerTable(ConsumerData(PLANS, {}, CONSUMERS)))


async def send(
    world: World, fields: Sequence[Field], method: str = "GET", path: str = PATH, **more: Any
) -> ReceivedResponse:
    return await world.request(method, path, fields, **{"key": "", **more})


def fields(world: World, method: str = "GET", uri: str = URI, by: Signer = signer, **more: Any) -> list[Field]:
    return by.fields(method, uri, **{"created": world.clock.now, **more})


async def refused(world: World, sent: Sequence[Field], **more: Any) -> str:
    response = await send(world, sent, **more)
    assert response.status == 401, response.body
    assert response.json()["code"] == "unauthenticated"
    return str(response.json()["detail"])


async def test_a_signed_request_is_that_of_its_keys_consumer(world: World) -> None:
    origin = await world.serve(ok(), policy=POLICY)
    accept(world)
    for by, caller in ((signer, "signature+acme:acme-1"), (program, "signature+acme:acme-hmac")):
        response = await send(world, fields(world, by=by))
        assert response.status == 200, response.body
        assert dict(origin.requests[-1].fields)[b"x-gateway-caller"] == caller.encode()
        assert world.observer.requests[-1].caller == caller


async def test_backends_do_not_see_the_signature_but_the_digest(world: World) -> None:
    origin = await world.serve(ok(), policy=POLICY)
    accept(world)
    body = b'{"name": "Ada"}'
    response = await send(world, fields(world, "POST", body=body), "POST", body=[body[:5], body[5:]])
    assert response.status == 200, response.body
    names = {name for name, _ in origin.requests[-1].fields}
    assert not {b"signature", b"signature-input"} & names
    assert b"content-digest" in names
    assert origin.requests[-1].body == body


async def test_another_content_never_reaches_the_backend_as_a_whole(world: World) -> None:
    origin = await world.serve(ok(), ok(), policy=POLICY)
    accept(world)
    signed = fields(world, "POST", body=b'{"amount": 10}')
    for more in ({}, {"length": False}):
        sent = signed if not more else fields(world, "POST", body=b'{"amount": 10}')
        detail = await refused(world, sent, method="POST", body=[b'{"amount"', b": 99}"], **more)
        assert detail == "the content does not match its Content-Digest"
    assert not any(request.body.endswith(b"99}") for request in origin.requests)
    assert await refused(world, fields(world, "POST", body=b"x"), method="POST") == (
        "the content does not match its Content-Digest"
    )


async def test_a_signature_must_cover_the_content(world: World) -> None:
    await world.serve(ok(), policy=POLICY)
    accept(world)
    assert await refused(world, fields(world, "POST"), method="POST", body=[b"x"]) == (
        "the signature must cover content-digest"
    )
    digested = fields(world, "POST", body=b"x")
    unsigned = [*fields(world, "POST"), digested[0]]
    assert "must cover content-digest" in await refused(world, unsigned, method="POST", body=[b"x"])


async def test_what_was_signed_cannot_be_sent_otherwise(world: World) -> None:
    await world.serve(ok(), policy=POLICY)
    await world.serve(ok(), policy=POLICY, name="erp")
    accept(world)
    mismatch = "the signature does not match the request as received"
    assert mismatch in await refused(world, fields(world), method="DELETE")
    assert mismatch in await refused(world, fields(world), path="/api/v1/erp/contacts")
    assert mismatch in await refused(world, fields(world), path=PATH + "?all=1")
    assert mismatch in await refused(world, fields(world), host="other.test")
    assert mismatch in await refused(world, fields(world, uri="https://gateway.test" + PATH))
    assert (await send(world, fields(world, uri=URI + "?a=%20b"), path=PATH + "?a=%20b")).status == 200


async def test_what_the_client_signed_is_what_a_trusted_proxy_says_it_sent(world: World) -> None:
    """The proxy terminates TLS and calls the gateway by another name."""
    await world.serve(ok(), policy=POLICY)
    accept(world)
    proxied = [
        ("X-Forwarded-For", "203.0.113.8"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "API.example.com:443"),
    ]
    signed = fields(world, uri=f"https://api.example.com{PATH}")
    assert (await send(world, [*proxied, *signed], client=PROXY, host="gateway.internal:8000")).status == 200
    signed = fields(world, uri=f"https://api.example.com{PATH}")
    assert "does not match" in await refused(world, [*proxied, *signed])


async def test_a_nonce_is_accepted_once(world: World) -> None:
    await world.serve(ok(), policy=POLICY)
    accept(world)
    signed = fields(world, nonce="n-1")
    assert (await send(world, signed)).status == 200
    assert await refused(world, signed) == "the signature's nonce has been used before"
    world.clock.advance(1)
    assert await refused(world, fields(world, nonce="n-1")) == "the signature's nonce has been used before"
    assert (await send(world, fields(world, nonce="n-1", by=program))).status == 200, "each key has its own nonces"
    assert await refused(world, fields(world, nonce="")) == "the signature needs a nonce"


@pytest.mark.parametrize(
    "limit", [{"rate": "1/m"}, {"rate": "9/m", "burst": 1}, {"quota": [{"amount": 1, "per": "hour"}]}]
)
async def test_a_request_over_a_limit_of_its_plan_may_be_sent_again(one: World, limit: dict[str, Any]) -> None:
    await one.serve(ok(), policy=msgspec.structs.replace(POLICY, signature=SignaturePolicy(max_age=7_200)))
    accept(one)
    plans = {"small": decode_plan("small", limit)}
    consumer = ConsumerRecord(1, "acme", True, one.clock(), plan="small")
    one.live.keys = ApiKeys([], ConsumerTable(ConsumerData(plans, {}, {1: consumer})))
    assert (await send(one, fields(one))).status == 200
    signed = fields(one)
    assert [(await send(one, signed)).status for _ in range(2)] == [429, 429]
    one.clock.advance(3_600)
    assert (await send(one, signed)).status == 200
    one.clock.advance(120)
    assert await refused(one, signed) == "the signature's nonce has been used before"


async def test_a_request_over_its_limit_may_be_sent_again(one: World) -> None:
    limited = msgspec.structs.replace(POLICY, rate_limit=RatePolicy(1, 10))
    await one.serve(ok(), policy=limited)
    accept(one)
    assert (await send(one, fields(one))).status == 200
    signed = fields(one)
    assert (await send(one, signed)).status == 429
    one.clock.advance(21)
    assert (await send(one, signed)).status == 200


async def test_requests_are_counted_by_caller_and_bad_ones_by_address(one: World) -> None:
    limited = msgspec.structs.replace(POLICY, rate_limit=RatePolicy(2, 60))
    await one.serve(ok(), policy=limited)
    accept(one)
    for _ in range(2):
        await refused(one, [*fields(one)[:1], ("Signature", "sig=:AAAA:")])
    assert (await send(one, [*fields(one)[:1], ("Signature", "sig=:AAAA:")])).status == 429
    assert [(await send(one, fields(one))).status for _ in range(3)] == [200, 200, 429]
    assert (await send(one, fields(one, by=program))).status == 200


async def test_an_address_that_sends_many_bad_signatures_has_none_verified_for_a_while(one: World) -> None:
    """Each would take longer to verify than to refuse."""
    await one.serve(ok(), policy=POLICY)
    accept(one)
    for _ in range(100):
        assert "does not match" in await refused(one, [*fields(one)[:1], ("Signature", "sig=:AAAA:")])
    assert "too many" in await refused(one, fields(one))
    assert (await send(one, fields(one), client="198.51.100.1")).status == 200, "another address"
    assert (await send(one, [], key=one.key)).status == 200, "another credential"
    one.clock.advance(60)
    assert (await send(one, fields(one))).status == 200


async def test_a_signature_is_accepted_from_its_creation_to_its_expiry(one: World) -> None:
    await one.serve(ok(), policy=POLICY)
    accept(one)
    now = one.clock.now
    expired, future = "the signature has expired", "the signature was created in the future"
    assert await refused(one, fields(one, created=now - 331)) == expired
    assert await refused(one, fields(one, created=now + 31)) == future
    assert await refused(one, fields(one, created=now - 60, more=f";expires={int(now) - 31}")) == expired
    assert "before it was created" in await refused(one, fields(one, more=f";expires={int(now) - 1}"))
    for accepted in ({"created": now - 329}, {"created": now + 29}, {"created": now, "more": f";expires={int(now)}"}):
        assert (await send(one, fields(one, **accepted))).status == 200
    edge = fields(one, created=now + 29, nonce="late")
    assert (await send(one, edge)).status == 200
    one.clock.advance(29 + 300 + 29)
    assert "used before" in await refused(one, edge), "a nonce is remembered for as long as its signature is valid"
    one.clock.advance(2)
    assert await refused(one, edge) == expired


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda s: s[:1], "the request has no field Signature"),
        (lambda s: s[1:], "the request has no field Signature-Input"),
        (lambda s: [s[0], ("Signature", "other=:AAAA:")], "have different labels"),
        (lambda s: [s[0], s[1], s[0]], "Signature-Input is malformed: duplicate key sig"),
        (lambda s: [s[0], s[1], s[1]], "Signature is malformed: duplicate key sig"),
        (lambda s: [s[0], ("Signature", "sig=AAAA")], "is not a byte sequence"),
        (lambda s: [s[0], ("Signature", "sig=:A:")], "Signature is malformed"),
        (lambda s: [s[0], ("Signature", "sig=:AAAA:")], "does not match"),
        (lambda s: [("Signature-Input", "sig=1"), s[1]], "is not a list of components"),
        (lambda s: [("Signature-Input", "sig=("), s[1]], "Signature-Input is malformed"),
        (lambda s: [("Signature-Input", "sig"), ("Signature", "sig")], "is not a list of components"),
        (lambda s: [(s[0][0], s[0][1].replace("acme-1", "x" * 201)), s[1]], "needs a keyid"),
        (lambda s: [(s[0][0], s[0][1].replace('"acme-1"', "acme-1")), s[1]], "keyid is not a string"),
        (lambda s: [(s[0][0], s[0][1].replace(';keyid="acme-1"', "")), s[1]], "needs a keyid"),
        (lambda s: [(s[0][0], s[0][1].replace("acme-1", "nobody")), s[1]], "the signature's keyid is not known"),
        (lambda s: [(s[0][0], s[0][1].replace("created=", "made=")), s[1]], "unknown parameter made"),
        (lambda s: [(s[0][0], s[0][1].replace("created=", "created=0.")), s[1]], "malformed"),
        (lambda s: [(s[0][0], s[0][1] + ";expires=1.5"), s[1]], "expires is not an integer"),
        (lambda s: [(s[0][0], s[0][1] + ';expires="1"'), s[1]], "expires is not an integer"),
        (lambda s: [(s[0][0], s[0][1] + ";created=1"), s[1]], "duplicate parameter created"),
        (lambda s: [(s[0][0], s[0][1] + ';alg="hmac-sha256"'), s[1]], "algorithm is not that of its key"),
        (lambda s: [(s[0][0], s[0][1] + ';alg="none"'), s[1]], "algorithm is not that of its key"),
        (lambda s: [(s[0][0], s[0][1] + ";alg=ed25519"), s[1]], "alg is not a string"),
        (lambda s: [(s[0][0], s[0][1] + ';tag="x"'), s[1]], "does not match"),
        (lambda s: [("Signature-Input", s[0][1] + "x" * 9_000), s[1]], "Signature-Input is too long"),
        (lambda s: [("Signature-Input", "sig=(" + '"a" ' * 65 + ")"), s[1]], "at most 64 components"),
        (
            lambda _: [
                ("Signature-Input", ", ".join(f"s{i}=()" for i in range(9))),
                ("Signature", ", ".join(f"s{i}=:AAAA:" for i in range(9))),
            ],
            "1 to 8 members",
        ),
        (lambda s: [("Signature-Input", ""), s[1]], "1 to 8 members"),
        (lambda s: [("Signature-Input", "sig=()\xe9"), s[1]], "not ASCII"),
    ],
)
async def test_malformed_signatures_say_what_is_wrong(one: World, change: Any, detail: str) -> None:
    await one.serve(ok(), policy=POLICY)
    accept(one)
    found = await refused(one, change(fields(one)))
    assert detail in found, found


async def test_an_error_says_what_to_sign(world: World) -> None:
    only = msgspec.structs.replace(POLICY, auth=Auth.SIGNATURE, signature=SignaturePolicy(tag="orders"))
    await world.serve(ok(), policy=only)
    accept(world)
    response = await send(world, [])
    assert response.status == 401
    assert response.get("www-authenticate") == 'Signature realm="gateway"'
    assert response.get("accept-signature") == 'sig=("@method" "@target-uri");created;nonce;keyid;tag="orders"'
    response = await send(world, [], "POST", body=[b"x"])
    assert response.get("accept-signature") == (
        'sig=("@method" "@target-uri" "content-digest");created;nonce;keyid;tag="orders"'
    )
    response = await send(world, fields(world, more=';tag="other"'))
    assert response.get("www-authenticate") == (
        'Signature realm="gateway", error="invalid_signature", error_description="no signature has the tag orders"'
    )
    assert (await send(world, fields(world, more=';tag="orders"'))).status == 200


async def test_a_route_that_requires_a_signature_accepts_no_key(world: World) -> None:
    only = msgspec.structs.replace(POLICY, auth=Auth.SIGNATURE, forward_authorization=True)
    origin = await world.serve(ok(), policy=only)
    await world.serve(ok(), policy=POLICY, name="open")
    accept(world)
    assert (await send(world, [], key=world.key)).status == 401
    assert (await send(world, [], key=world.key, path="/api/v1/open/x")).status == 200, "the same fields elsewhere"
    own = [("Authorization", "Basic dTpw"), ("X-API-Key", "not a key")]
    assert (await send(world, [*own, *fields(world)])).status == 200
    sent = dict(origin.requests[-1].fields)
    assert sent[b"authorization"] == b"Basic dTpw"
    assert b"x-api-key" not in sent


async def test_where_a_key_is_sent_too_it_counts_and_the_signature_is_the_backends(world: World) -> None:
    origin = await world.serve(ok(), policy=POLICY)
    accept(world)
    signed = [("Signature-Input", "x=()"), ("Signature", "x=:AAAA:")]
    assert (await send(world, signed, key=world.key)).status == 200
    assert dict(origin.requests[-1].fields)[b"signature"] == b"x=:AAAA:"
    assert world.observer.requests[-1].caller == "key:ours"


async def test_where_no_credential_is_required_signatures_of_others_are_the_backends(world: World) -> None:
    """Those of agents and of other servers, which are known to the backend, and of other schemes."""
    origin = await world.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=Auth.OPTIONAL))
    await world.serve(ok(), policy=POLICY, name="closed")
    accept(world)
    agent = fields(world, by=Signer("an-agent"), more=';tag="web-bot-auth"')
    draft = [("Signature", 'keyId="https://social.example/ada#main",headers="date",signature="YWJj"')]
    for sent in (agent, draft):
        for _ in range(2):
            assert (await send(world, sent)).status == 200
            received = dict(origin.requests[-1].fields)
            assert received[b"signature"] == dict(sent)["Signature"].encode()
            assert b"x-gateway-caller" not in received
        assert (await send(world, sent, path="/api/v1/closed/x")).status == 401
    assert await refused(world, [*fields(world)[:1], ("Signature", "sig=:AAAA:")])


async def test_signatures_of_others_do_not_use_up_what_an_address_may_fail(one: World) -> None:
    await one.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=Auth.OPTIONAL))
    accept(one)
    for _ in range(110):
        assert (await send(one, fields(one, by=Signer("an-agent")))).status == 200
    assert (await send(one, fields(one))).status == 200
    assert one.observer.requests[-1].caller == "signature+acme:acme-1"


async def test_without_keys_signatures_are_the_backends(world: World) -> None:
    origin = await world.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=Auth.OPTIONAL))
    signed = fields(world)
    assert (await send(world, signed)).status == 200
    assert dict(origin.requests[-1].fields)[b"signature"] == signed[1][1].encode()
    accept(world)
    assert (await send(world, [])).status == 200
    assert (await send(world, [signed[0], ("Signature", "sig=:AAAA:")])).status == 401, "a bad credential is none"


async def test_consumers_plans_and_scopes_hold(one: World) -> None:
    await one.serve(ok(), policy=POLICY)
    accept(one, key(consumer=2))
    assert await refused(one, fields(one)) == "the signature's consumer is disabled"
    accept(one, key(consumer=9))
    assert await refused(one, fields(one)) == "the signature's consumer is disabled"
    accept(one, key(consumer=3))
    assert (await send(one, fields(one))).json()["detail"] == "the plan does not include this service"
    accept(one, key(scopes=frozenset({"other"})))
    assert (await send(one, fields(one))).status == 403
    accept(one, key(scopes=frozenset({"crm"})))
    assert (await send(one, fields(one))).status == 200


async def test_after_a_rotation_both_keys_are_accepted_until_the_grace_ends(one: World) -> None:
    await one.serve(ok(), policy=POLICY)
    new = Signer("acme-1")
    accept(one, key(until=one.clock.now + 60), key(new))
    assert (await send(one, fields(one))).status == 200
    assert (await send(one, fields(one, by=new))).status == 200
    one.clock.advance(60)
    assert "does not match" in await refused(one, fields(one))
    assert (await send(one, fields(one, by=new))).status == 200


async def test_a_signature_that_a_proxy_adds_is_ignored(one: World) -> None:
    await one.serve(ok(), policy=POLICY)
    accept(one)
    (_, given), (_, signature) = fields(one)
    (_, other_input), (_, other) = fields(one, by=Signer("a-proxy"), label="proxy")
    both = [("Signature-Input", f"{other_input}, {given}"), ("Signature", f"{signature}, {other}")]
    assert (await send(one, both)).status == 200
    (_, second_input), (_, second) = fields(one, by=program, label="second")
    two = [("Signature-Input", f"{given}, {second_input}"), ("Signature", f"{signature}, {second}")]
    assert "several signatures of known keys" in await refused(one, two)


@pytest.mark.parametrize(
    "other",
    [
        '("@authority");tag="proxy"',
        '("@authority");created=1;keyid="a-proxy";tag="proxy";purpose="cache"',
        '("x-other";sf);keyid=:YS1wcm94eQ==:',
        '"@authority"',
    ],
)
async def test_what_a_proxy_signs_need_not_be_of_our_form(one: World, other: str) -> None:
    """RFC 9421 requires neither a key id nor a time, and further parameters may be registered."""
    await one.serve(ok(), policy=POLICY)
    accept(one)
    (_, given), (_, signature) = fields(one)
    both = [("Signature-Input", f"proxy={other}, {given}"), ("Signature", f"proxy=:AAAA:, {signature}")]
    assert (await send(one, both)).status == 200
    alone = [("Signature-Input", f"proxy={other}"), ("Signature", "proxy=:AAAA:")]
    assert await refused(one, alone)


async def test_required_components_may_be_covered_in_parts(one: World) -> None:
    await one.serve(ok(), policy=POLICY)
    accept(one)
    parts = [('"@method"', "GET"), ('"@authority"', "gateway.test"), ('"@path"', PATH)]
    assert (await send(one, fields(one, components=parts))).status == 200
    assert await refused(one, fields(one, components=parts), path=PATH + "?admin=1") == (
        "the signature must cover @target-uri"
    )
    whole = [*parts, ('"@query"', "?admin=1")]
    assert (await send(one, fields(one, components=whole), path=PATH + "?admin=1")).status == 200
    for missing in parts:
        left = [part for part in parts if part is not missing]
        assert "the signature must cover" in await refused(one, fields(one, components=left))
    selected = [*parts, ('"@query-param";name="a"', "1")]
    assert "must cover @target-uri" in await refused(one, fields(one, components=selected), path=PATH + "?a=1&b=2")


async def test_what_must_be_covered_is_configured(one: World) -> None:
    own = SignaturePolicy(components=("@method", "date"), nonce=NonceRule.OPTIONAL, max_age=10, leeway=0)
    await one.serve(ok(), policy=msgspec.structs.replace(POLICY, signature=own))
    accept(one)
    date = "Tue, 20 Apr 2021 02:07:55 GMT"
    components = [('"@method"', "POST"), ('"date"', date)]
    signed = [("Date", date), *fields(one, nonce="", components=components)]
    assert (await send(one, signed, "POST", body=[b"x"])).status == 200
    assert (await send(one, signed, "POST", body=[b"x"])).status == 200
    assert "must cover date" in await refused(one, fields(one, nonce=""))
    one.clock.advance(10)
    assert "expired" in await refused(one, signed, method="POST", body=[b"x"])


async def test_fields_of_content_are_required_where_there_is_any(one: World) -> None:
    """A client cannot sign a field that it does not send, so that no GET could be right."""
    names = ("@method", "@target-uri", "content-digest", "content-type")
    own = msgspec.structs.replace(POLICY, auth=Auth.SIGNATURE, signature=SignaturePolicy(components=names))
    await one.serve(ok(), policy=own)
    accept(one)
    kind = [("Content-Type", "text/plain")]
    assert (await send(one, fields(one))).status == 200
    assert await refused(one, [*fields(one), *kind]) == "the signature must cover content-type"
    sent = [*fields(one, "POST", body=b"x"), *kind]
    assert await refused(one, sent, method="POST", body=[b"x"]) == "the signature must cover content-type"
    covered = [('"@method"', "POST"), ('"@target-uri"', URI), ('"content-type"', "text/plain")]
    sent = [*fields(one, "POST", body=b"x", components=covered), *kind]
    assert (await send(one, sent, method="POST", body=[b"x"])).status == 200
    assert (await send(one, [])).get("accept-signature") == 'sig=("@method" "@target-uri");created;nonce;keyid'
    asked = (await send(one, kind, method="POST", body=[b"x"])).get("accept-signature") or ""
    assert '"content-digest" "content-type"' in asked


async def test_signed_requests_share_what_is_stored_for_their_caller(one: World) -> None:
    origin = await one.serve(ok(), policy=RoutePolicy(timeout=QUICK))
    accept(one)
    seen = [(await send(one, fields(one))).get("x-cache") for _ in range(2)]
    assert seen == ["MISS", "HIT"]
    assert (await send(one, fields(one, by=program))).get("x-cache") == "MISS"
    assert len(origin.requests) == 2


async def test_without_the_store_of_nonces_nothing_is_accepted(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await one.serve(ok(), policy=POLICY)
    accept(one)

    class Unavailable:
        async def claim(self, _replay_id: str, _seconds: float) -> bool:
            raise StoreUnavailable("gone")

    monkeypatch.setattr(one.gateway._presented, "_nonces", Unavailable())
    response = await send(one, fields(one))
    assert (response.status, response.json()["code"]) == (503, "authentication_unavailable")
    assert response.get("retry-after") == "1"
    assert (await send(one, [], key=one.key)).status == 200


@pytest.mark.parametrize("digested", ["", "sha-256=1", "md5=:AAAA:", "sha-256=:AAAA:, sha-256=:AAAA:", "x" * 2_000])
async def test_digests_that_are_malformed_are_refused(one: World, digested: str) -> None:
    await one.serve(ok(), policy=POLICY)
    accept(one)
    components = [('"@method"', "POST"), ('"@target-uri"', URI), ('"content-digest"', digested)]
    signed = [("Content-Digest", digested), *fields(one, "POST", components=components)]
    assert "Content-Digest" in await refused(one, signed, method="POST", body=[b"x"])


async def test_every_digest_must_be_right(one: World) -> None:
    await one.serve(ok(), policy=POLICY)
    accept(one)
    right = fields(one, "POST", body=b"x")[0][1]
    both = f"sha-512=:AAAA:, {right}"
    components = [('"@method"', "POST"), ('"@target-uri"', URI), ('"content-digest"', both)]
    signed = [("Content-Digest", both), *fields(one, "POST", components=components)]
    assert "does not match its Content-Digest" in await refused(one, signed, method="POST", body=[b"x"])


async def test_a_body_that_is_too_large_is_refused_as_ever(one: World) -> None:
    await one.serve(ok(), policy=POLICY)
    accept(one)
    body = b"x" * 2_000
    response = await send(one, fields(one, "POST", body=body), "POST", body=[body], length=False)
    assert response.status == 413
