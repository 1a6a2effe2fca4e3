"""What a backend is sent of a caller: header fields, and tokens that the gateway has signed."""

from typing import Any

import jwt
import pytest

from resilience.cache.policy import CachePolicy, Scope
from routing.authentication.identity_signer import (
    PUBLISHED_SECONDS,
    IdentityKey,
    IdentitySigner,
    new_private_key,
    public_jwk,
    signing_key,
)
from routing.caller import Caller, TokenIdentity
from routing.http import Request, Response
from routing.router.identity_policy import IdentityField, IdentityPolicy
from routing.router.policy import Auth, RoutePolicy
from tests.gateway.cache_steps import reply
from tests.gateway.conftest import QUICK, World
from tests.origin import Peer

ADA = TokenIdentity("https://issuer.example", "ada", "acme", "ada@example.com")
FORGED = [
    ("X-Gateway-Tenant", "evil"),
    ("X_Gateway_Email", "evil"),
    ("x-gateway-scopes", "*"),
    ("X-Gateway-Identity", "e.v.il"),
    ("X-Gateway-Anything", "evil"),
]
FIELDS = IdentityPolicy(fields=tuple(IdentityField))
SIGNED = IdentityPolicy(audience="crm", header="x-gateway-identity", ttl=60.0)


def caller(**changes: Any) -> Caller:
    values = {"id": "jwt+issuer.example+acme:ada", "tenant": "issuer.example:acme", "scopes": frozenset({"b", "a"})}
    return Caller(**{**values, "services": frozenset({"*"}), "identity": ADA, **changes})


def key(created_at: float = 0.0) -> IdentityKey:
    return IdentityKey(f"k{created_at:g}", created_at, new_private_key())


def use(world: World, *keys: IdentityKey) -> None:
    signer: IdentitySigner = world.gateway._calls._header_fields._signer
    signer.use(keys)


async def send(world: World, who: Caller | None, path: bytes = b"/x") -> Response:
    headers = [(b"host", b"gateway.test"), *((name.lower().encode(), value.encode()) for name, value in FORGED)]
    request = Request("GET", b"/api/v1/crm" + path, b"", headers, "192.0.2.1")
    request.caller = who
    return await world.gateway.handle(request)


async def echo(peer: Peer) -> None:
    await peer.read_body()
    fields = dict(peer.request.fields)
    names = [b"x-gateway-tenant", b"x-gateway-scopes", b"x-gateway-email", b"x-gateway-identity", b"x-gateway-anything"]
    body = b"|".join(fields.get(name, b"-") for name in names)
    await peer.send(reply(200, body, cache_control="max-age=60"))


async def test_fields_on_wish_and_forged_ones_never(world: World) -> None:
    origin = await world.serve(*[echo] * 4, policy=RoutePolicy(timeout=QUICK, identity=FIELDS, cache=None))
    await world.request("GET", "/api/v1/crm/x", FORGED)
    await world.request("GET", "/api/v1/crm/x", FORGED, key=world.other_key)
    first, second = (dict(request.fields) for request in origin.requests)
    names = [{name for name in fields if name.startswith((b"x-gateway", b"x_gateway"))} for fields in (first, second)]
    always = {b"x-gateway-caller", b"x-gateway-timeout-ms"}
    assert names == [always | {b"x-gateway-scopes"}, always]
    assert first[b"x-gateway-scopes"] == b"* debug"


async def test_an_anonymous_caller_has_no_identity(cache_world: World) -> None:
    await cache_world.serve(echo, policy=RoutePolicy(timeout=QUICK, identity=SIGNED, auth=Auth.OPTIONAL))
    use(cache_world, key())
    assert (await send(cache_world, None)).body == b"-|-|-|-|-"


async def test_what_is_sent_is_part_of_the_cache_key(cache_world: World) -> None:
    policy = RoutePolicy(timeout=QUICK, identity=FIELDS, cache=CachePolicy(ttl=60, scope=Scope.TENANT))
    await cache_world.serve(*[echo] * 9, policy=policy)
    others = [
        caller(),
        caller(scopes=frozenset({"a"})),
        caller(identity=TokenIdentity("https://issuer.example", "bob", "acme", "bob@example.com")),
        caller(tenant="other.example:acme"),
    ]
    expected = [
        b"acme|a b|ada@example.com|-|-",
        b"acme|a|ada@example.com|-|-",
        b"acme|a b|bob@example.com|-|-",
        b"acme|a b|ada@example.com|-|-",
    ]
    for verdict in (b"MISS", b"HIT"):
        responses = [await send(cache_world, who) for who in others]
        assert [response.body for response in responses] == expected
        assert {dict(response.headers)[b"x-cache"] for response in responses} == {verdict}


async def test_a_signed_identity_verifies_and_is_nobody_elses(cache_world: World) -> None:
    policy = RoutePolicy(timeout=QUICK, identity=SIGNED, cache=CachePolicy(ttl=60, scope=Scope.SHARED))
    await cache_world.serve(*[echo] * 9, policy=policy)
    mine = key()
    use(cache_world, mine)
    bob = caller(id="jwt+issuer.example+acme:bob", identity=TokenIdentity("https://issuer.example", "bob", "acme"))
    bodies = [(await send(cache_world, who)).body for who in (caller(), bob, caller())]
    found = [body.split(b"|")[3] for body in bodies if isinstance(body, bytes)]
    assert found[0] == found[2] != found[1]
    public = jwt.PyJWK(public_jwk(mine.kid, mine.private))
    claims = jwt.decode(found[0], public, ["ES256"], audience="crm", options={"verify_exp": False, "verify_iat": False})
    assert claims.pop("exp") - claims.pop("iat") == 60
    assert claims == {
        "iss": "intelligence-gateway",
        "aud": "crm",
        "sub": "jwt+issuer.example+acme:ada",
        "tenant": "acme",
        "scope": "a b",
        "email": "ada@example.com",
        "idp": "https://issuer.example",
        "idp_sub": "ada",
    }


async def test_a_token_is_signed_again_before_it_ends(cache_world: World) -> None:
    await cache_world.serve(*[echo] * 9, policy=RoutePolicy(timeout=QUICK, identity=SIGNED, cache=None))
    use(cache_world, key())
    tokens = []
    for seconds in (0, 0, 20, 20):
        cache_world.clock.now += seconds
        tokens.append((await cache_world.request("GET", "/api/v1/crm/x")).body)
    assert tokens[1] == tokens[2] != tokens[3]


async def test_without_a_key_the_service_is_not_called(cache_world: World) -> None:
    origin = await cache_world.serve(echo, policy=RoutePolicy(timeout=QUICK, identity=SIGNED, cache=None))
    assert (await send(cache_world, caller())).status == 503
    assert not origin.requests


def test_a_new_key_signs_once_backends_know_it() -> None:
    old, new = key(0.0), key(1_000_000.0)
    assert signing_key([old, new], 1_000_001.0) == old
    assert signing_key([old, new], 1_000_000.0 + PUBLISHED_SECONDS) == new
    assert signing_key([new], 1_000_001.0) == new
    assert signing_key([], 1.0) is None


@pytest.mark.parametrize("header", ["authorization", "x-gateway-caller", "x-gateway-debug", "cookie", "x-gateway-"])
def test_headers_that_have_another_meaning(header: str) -> None:
    with pytest.raises(ValueError, match="header must"):
        IdentityPolicy(audience="crm", header=header)
