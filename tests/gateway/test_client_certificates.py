"""Client certificates through each entry point: who the caller is, what is believed of whom, and bound tokens."""

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.test import override_settings

from resilience.ratelimit.policy import RatePolicy
from routing import asgi, runtime
from routing.authentication.api_keys import ApiKeys, KeyRecord, digest
from routing.authentication.authenticator import Credential
from routing.authentication.certificates.errors import InvalidCertificate
from routing.authentication.certificates.source import parse_source
from routing.authentication.revocations import Revocations
from routing.caller import Caller
from routing.consumers.policy import UserBinding
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable
from routing.errors import InvalidToken
from routing.gateway_rules import GatewayRules
from routing.realtime import handshake
from routing.router.policy import Auth, Fallback, RoutePolicy
from tests import certificates
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.entry_points import ReceivedResponse, install
from tests.gateway.test_nine_steps import ok

NETWORKS = (ip_network("10.0.0.0/8"),)
PROXY = "10.0.0.1"
PATH = "/api/v1/crm/x"
CALLER = "certificate+acme:uri:spiffe://acme/web"
SENT_CALLER = b"certificate+acme:uri:spiffe:%2F%2Facme%2Fweb"
"""What backends receive of it."""
POLICY = RoutePolicy(timeout=QUICK, cache=None)
CA = certificates.authority()
LEAF = certificates.client(CA, uris=["spiffe://acme/web"])
OTHER = certificates.client(CA, uris=["spiffe://acme/other"])
OUTSIDER = certificates.client(certificates.authority("Other"), uris=["spiffe://acme/web"])
OLD = certificates.client(CA, uris=["spiffe://acme/web"], ends=certificates.NOW - certificates.DAY / 2)
SOURCE = msgspec.structs.replace(parse_source("pem X-SSL-Client-Cert X-SSL-Client-Verify"), roots=CA.pem.encode())
Field = tuple[str, str]


class Tokens:
    """Verifies the token `bound`, which is bound to LEAF."""

    caller = Caller("jwt+idp:ada", scopes=frozenset({"*"}), confirmation="", expires=2e9)

    def __init__(self, thumbprint: str, *, cached: bool) -> None:
        self._caller = msgspec.structs.replace(self.caller, confirmation=thumbprint)
        self._cached = cached

    def cached(self, token: str, now: float) -> Caller | None:
        return self._caller if self._cached and token == "bound" else None

    async def verify(self, token: str, now: float) -> Caller:
        if token != "bound":
            raise InvalidToken("the token is not valid")
        return self._caller


def rules() -> GatewayRules:
    return GatewayRules(rate=RatePolicy(1_000, 60), trusted_proxies=NETWORKS, certificates=SOURCE)


def know(world: World) -> None:
    record = KeyRecord(prefix="ours", digest=digest(world.key), name="ours", scopes=frozenset({"*"}))
    identities = {
        UserBinding(issuer="certificate", subject="uri:spiffe://acme/web"): 1,
        UserBinding(issuer="certificate", subject="uri:spiffe://acme/limited"): 1,
    }
    data = ConsumerData(consumers={1: ConsumerRecord(1, "acme", True, 0.0)}, identities=identities)
    world.live.keys = ApiKeys([record], ConsumerTable(data))


@pytest.fixture(params=["http1", "asgi", "django"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    with override_settings(CONFIG=msgspec.structs.replace(settings.CONFIG, trusted_proxies=NETWORKS)):
        made = make_world(request.param, rules())
        know(made)
        install(made.gateway)
        await runtime.current().start()
        yield made
        await runtime.current().stop()
        await made.close()


@pytest.fixture
async def one() -> AsyncIterator[World]:
    made = make_world("asgi", rules())
    know(made)
    yield made
    await made.close()


def shown(issued: certificates.Issued = LEAF, verdict: str = "SUCCESS") -> list[Field]:
    return [("X-SSL-Client-Cert", issued.escaped), ("X-SSL-Client-Verify", verdict), ("X-Forwarded-For", "203.0.113.8")]


async def send(world: World, fields: Sequence[Field] = (), client: str = PROXY, **more: Any) -> ReceivedResponse:
    return await world.request("GET", more.pop("path", PATH), fields, **{"key": "", "client": client, **more})


async def test_a_client_with_a_certificate_is_its_consumer(world: World) -> None:
    origin = await world.serve(ok(), policy=POLICY)
    for _ in range(2):
        response = await send(world, shown())
        assert response.status == 200, response.body
        assert dict(origin.requests[-1].fields)[b"x-gateway-caller"] == SENT_CALLER
    assert world.observer.requests[-1].caller == CALLER


async def test_a_forged_certificate_is_not_believed_and_not_forwarded(world: World) -> None:
    """Also after a proxy has sent the same bytes, and whatever the field's spelling."""
    origin = await world.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=Auth.OPTIONAL))
    await world.serve(ok(), policy=POLICY, name="closed")
    for client, caller in ((PROXY, SENT_CALLER), ("192.0.2.7", None), (PROXY, SENT_CALLER), ("192.0.2.7", None)):
        forged = [*shown(), ("X_SSL_Client_Cert", LEAF.escaped)] if client != PROXY else shown()
        assert (await send(world, forged, client)).status == 200
        sent = dict(origin.requests[-1].fields)
        assert sent.get(b"x-gateway-caller") == caller
        assert not [name for name in sent if b"cert" in name or b"verify" in name]
    assert (await send(world, shown(), "192.0.2.7", path="/api/v1/closed/x")).status == 401


@pytest.mark.parametrize("auth", [Auth.NONE, Auth.OPTIONAL, Auth.REQUIRED])
async def test_no_backend_sees_a_field_that_it_may_take_for_a_certificate(one: World, auth: Auth) -> None:
    origin = await one.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=auth))
    forged = [
        ("Client-Cert", f":{LEAF.base64}:"),
        ("Client-Cert-Chain", f":{LEAF.base64}:"),
        ("X-Forwarded-Client-Cert", f"Hash={LEAF.fingerprint}"),
        ("X-SSL-Client-Cert", LEAF.escaped),
        ("X-SSL-Client-Verify", "SUCCESS"),
    ]
    for client in (PROXY, "192.0.2.7"):
        assert (await send(one, forged, client, key=one.key)).status == 200
        assert not [name for name, _ in origin.requests[-1].fields if b"cert" in name or b"verify" in name]


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        (shown(OTHER), "the client certificate is not that of a consumer"),
        (shown(OUTSIDER), "the client certificate was not issued by an authority that is trusted here"),
        (shown(OLD), "the client certificate has expired"),
        (shown(verdict="NONE"), "the proxy has not verified the client certificate"),
        ([("X-SSL-Client-Cert", "junk"), ("X-SSL-Client-Verify", "SUCCESS")], "cannot be read"),
        ([], "a client certificate is required"),
    ],
)
async def test_what_is_not_accepted(one: World, fields: list[Field], detail: str) -> None:
    origin = await one.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=Auth.CERTIFICATE))
    await one.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=Auth.OPTIONAL), name="open")
    await one.serve(ok(), policy=POLICY, name="any")
    response = await send(one, fields)
    assert (response.status, response.json()["code"]) == (401, "unauthenticated")
    assert detail in response.json()["detail"]
    assert str(response.get("www-authenticate")).startswith('Certificate realm="gateway", error="invalid_certificate"')
    assert not origin.requests
    assert (await send(one, fields, path="/api/v1/any/x")).status == 401
    assert (await send(one, fields, path="/api/v1/open/x")).status == 200, "it came with the connection"
    assert (await send(one, fields, path="/api/v1/any/x", key=one.key)).status == 200


async def test_a_route_that_requires_a_certificate_accepts_no_key(world: World) -> None:
    origin = await world.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=Auth.CERTIFICATE))
    await world.serve(ok(), policy=POLICY, name="any")
    assert (await send(world, key=world.key)).status == 401
    assert (await send(world, key=world.key, path="/api/v1/any/x")).status == 200, "the same fields elsewhere"
    assert (await send(world, shown(), key=world.key)).status == 200
    sent = dict(origin.requests[-1].fields)
    assert sent[b"x-gateway-caller"] == SENT_CALLER
    assert b"x-api-key" not in sent


async def test_where_a_key_is_sent_too_it_counts(world: World) -> None:
    origin = await world.serve(ok(), policy=POLICY)
    assert (await send(world, shown(), key=world.key)).status == 200
    assert dict(origin.requests[-1].fields)[b"x-gateway-caller"] == b"key:ours"


async def test_a_listener_may_hand_the_certificate_in(one: World) -> None:
    """Without a proxy, and without any setting."""
    origin = await one.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=Auth.CERTIFICATE))
    answer = one.gateway.answer

    def listen(request: Any) -> Any:
        request.peer_certificates = (LEAF.der,)
        return answer(request)

    one.gateway.answer = listen  # type: ignore[method-assign]  # as a listener would
    assert (await send(one, client="192.0.2.7")).status == 200
    assert dict(origin.requests[-1].fields)[b"x-gateway-caller"] == SENT_CALLER
    assert (await send(one, client=PROXY)).status == 401, "this is the proxy's own"


async def test_a_websocket_comes_with_the_certificate_that_the_proxy_forwards(one: World) -> None:
    await one.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=Auth.CERTIFICATE, websocket=True))
    headers = [(b"host", b"gateway.test"), *((name.lower().encode(), value.encode()) for name, value in shown())]
    scope = {"type": "websocket", "path": PATH, "query_string": b"", "headers": headers}
    for more, is_admitted in (
        ({"client": (PROXY, 1)}, True),
        ({"client": ("203.0.113.8", 1), asgi.VIA_PROXY: True}, True),  # as gateway_project/sockets.py passes it on
        ({"client": ("203.0.113.8", 1)}, False),
    ):
        exchange = handshake.begin(one.gateway, {**scope, **more}, None).exchange
        if is_admitted:
            await one.gateway.admit(exchange)
            assert exchange.caller is not None
            assert exchange.caller.id == CALLER
        else:
            with pytest.raises(InvalidCertificate):
                await one.gateway.admit(exchange)


async def test_the_fields_of_a_proxy_do_not_keep_responses_from_the_cache(one: World) -> None:
    public = msgspec.structs.replace(RoutePolicy(timeout=QUICK), auth=Auth.NONE)
    shared = ok(b"{}", b"Cache-Control: public, max-age=60")
    await one.serve(shared, policy=public)
    await one.serve(shared, policy=RoutePolicy(timeout=QUICK), name="own")
    for path in (PATH, "/api/v1/own/x"):
        assert [(await send(one, shown(), path=path)).get("x-cache") for _ in range(2)] == ["MISS", "HIT"]
    assert (await send(one, shown(OTHER), path="/api/v1/own/x")).status == 401


async def test_requests_are_counted_by_caller_and_others_by_address(one: World) -> None:
    await one.serve(ok(), policy=msgspec.structs.replace(POLICY, rate_limit=RatePolicy(2, 60)))
    assert [(await send(one, shown(OTHER))).status for _ in range(3)] == [401, 401, 429]
    assert [(await send(one, shown())).status for _ in range(3)] == [200, 200, 429]


async def test_a_fallback_service_requires_what_it_requires(one: World) -> None:
    unlucky = msgspec.structs.replace(POLICY, fallback=Fallback(service="spare", has_response=False))
    await one.serve(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", policy=unlucky)
    await one.serve(ok(), policy=msgspec.structs.replace(POLICY, auth=Auth.CERTIFICATE), name="spare")
    assert (await send(one, shown())).get("x-gateway-fallback") == "spare"
    response = await send(one, key=one.key)
    assert (response.status, response.get("x-gateway-fallback")) == (500, None)


@pytest.mark.parametrize("cached", [True, False])
async def test_a_bound_token_needs_its_certificate(one: World, cached: bool) -> None:
    """RFC 8705 section 3: whoever has stolen the token alone has nothing."""
    origin = await one.serve(ok(), policy=POLICY)
    thumbprint = urlsafe_b64encode(sha256(LEAF.der).digest()).decode().rstrip("=")
    authenticator = one.gateway._gatekeeper._authenticator
    authenticator.verify_with(Tokens(thumbprint, cached=cached), Revocations(()))
    token = [("Authorization", "Bearer bound")]
    for _ in range(2):
        assert (await send(one, [*token, *shown()])).status == 200
        assert dict(origin.requests[-1].fields)[b"x-gateway-caller"] == b"jwt+idp:ada"
        for fields, client in ((token, PROXY), ([*token, *shown(OTHER)], PROXY), ([*token, *shown()], "192.0.2.7")):
            response = await send(one, fields, client)
            assert response.status == 401
            assert "bound to a client certificate" in response.json()["detail"]
            assert 'error="invalid_token"' in str(response.get("www-authenticate"))
    with pytest.raises(Exception, match="cannot be used here"):
        await authenticator.identify(Credential("bound", is_key=False), one.clock.now)
