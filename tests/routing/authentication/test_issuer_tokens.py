"""Tokens of configured issuers, and every way in which one can be wrong."""

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from routing.authentication import jwks
from routing.authentication.caller_cache import CallerCache
from routing.authentication.introspection import IntrospectedTokens, Question
from routing.authentication.issuer_policy import Algorithm, ClaimNames, Issuer
from routing.authentication.issuer_token import LOGOUT_EVENT, claim
from routing.authentication.issuers import IssuerTokens
from routing.authentication.key_endpoint import Cause, FetchedKeys, KeyFetchFailed
from routing.authentication.signing_keys import SigningKeys
from routing.authentication.token_parts import parse
from routing.caller import GATEWAY_SCOPES, Caller
from routing.errors import AuthenticationUnavailable, InvalidToken
from tests.identity_provider import AUDIENCE, Provider, encoded, jwk, private_key, public_pem

ISSUER = "https://issuer.example"
OTHER = "https://other.example"
DEEP = b"{" + b'"a":{' * 3_000


async def never(_question: Question) -> tuple[int, bytes]:
    raise AssertionError("no token may be sent anywhere")


class World:
    """Two issuers and what verifies their tokens, with a clock that is ahead of the time by `ahead`."""

    def __init__(self, keys: list[dict[str, Any]] | None = None, **settings: Any) -> None:
        self.provider, self.other = Provider(ISSUER), Provider(OTHER)
        self.provider.keys = keys or self.provider.keys
        self.other.keys = [jwk("o1")]
        self.ahead = 0.0
        self.down = False
        self.fetches = 0
        self.services = {"crm", "mail"}
        cache = CallerCache()
        introspected = IntrospectedTokens(never, cache, self.now)
        self.tokens = IssuerTokens(self._open, cache, introspected, clock=self.now)
        self.issuer = Issuer(issuer=ISSUER, audience=(AUDIENCE,))
        self.configure(**settings)

    def configure(self, **settings: Any) -> None:
        self.issuer = msgspec.structs.replace(self.issuer, **settings)
        self.tokens.apply([self.issuer, Issuer(issuer=OTHER, audience=(AUDIENCE,))], self.services)

    def now(self) -> float:
        return time.time() + self.ahead

    async def verify(self, token: str) -> Caller:
        return await self.tokens.verify(token, self.now())

    async def reason(self, token: str) -> str:
        """Why the token is not accepted."""
        with pytest.raises(InvalidToken) as raised:
            await self.verify(token)
        assert self.tokens.cached(token, self.now()) is None
        return raised.value.detail

    def _open(self, issuer: Issuer, on_removed: Callable[[frozenset[str]], None]) -> SigningKeys:
        provider = self.other if issuer.issuer == OTHER else self.provider

        def fetch(_cause: Cause) -> FetchedKeys:
            self.fetches += provider is self.provider
            if self.down:
                raise KeyFetchFailed("down")
            keys = jwks.parse(json.dumps({"keys": provider.keys}).encode())
            return FetchedKeys(dict(keys), dict.fromkeys(keys, self.now() + 86_400), 300.0)

        return SigningKeys(fetch, self.now, on_removed)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_token_of_each_algorithm_names_its_caller(algorithm: str) -> None:
    world = World([jwk("a", algorithm)])
    token = world.provider.token("a", algorithm, org_id="acme", email="ada@example.com")
    caller = await world.verify(token)
    assert caller.id == "jwt+issuer.example+acme:ada"
    assert caller.tenant == "issuer.example:acme"
    assert caller.identity is not None
    assert (caller.identity.tenant, caller.identity.email) == ("acme", "ada@example.com")
    assert world.tokens.cached(token, world.now()) is caller


@pytest.mark.parametrize(("key", "token"), [("Ed25519", "Ed25519"), ("EdDSA", "Ed25519"), ("Ed25519", "EdDSA")])
async def test_ed25519_is_called_by_either_name(key: str, token: str) -> None:
    """RFC 9864 has replaced EdDSA, which names no curve, by Ed25519."""
    world, private = World([jwk("a", "EdDSA", alg=key)]), private_key("a", "EdDSA")
    assert isinstance(private, Ed25519PrivateKey)
    signed = f"{encoded({'alg': token, 'kid': 'a'})}.{encoded(world.provider.claims())}"
    sent = f"{signed}.{encoded(private.sign(signed.encode()))}"
    assert (await world.verify(sent)).id.endswith(":ada")
    world.configure(algorithms=(Algorithm.RS256,))
    assert "algorithm" in await world.reason(sent)


async def test_the_same_subject_of_two_issuers_is_two_callers() -> None:
    world = World()
    one = await world.verify(world.provider.token(org_id="acme"))
    two = await world.verify(world.other.token("o1", org_id="acme"))
    assert one.id != two.id
    assert one.tenant != two.tenant
    assert not set(one.names) & set(two.names)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "other"}, "the token is for another audience"),
        ({"aud": ["other", "third"]}, "the token is for another audience"),
        ({"aud": None}, "the token has no audience"),
        ({"aud": [AUDIENCE, 5]}, "the token has no audience"),
        ({"aud": {AUDIENCE: 1}}, "the token has no audience"),
        ({"iss": OTHER}, "the token's key is not known"),
        ({"iss": "https://unknown.example"}, "the token's issuer is not accepted"),
        (
            {"iss": ISSUER + "/"},
            "the token's issuer is not accepted: it differs from the configured one in the slash at its end",
        ),
        ({"iss": None}, "the token's issuer is not accepted"),
        ({"exp": 1}, "the token has expired"),
        ({"exp": None}, "the token does not expire"),
        ({"exp": "9999999999"}, "the token's claim exp is not a time"),
        ({"exp": True}, "the token's claim exp is not a time"),
        ({"exp": 10**400}, "the token's claim exp is not a time"),
        ({"nbf": 9_999_999_999}, "the token is not valid yet"),
        ({"iat": 9_999_999_999}, "the token was issued in the future"),
        ({"sub": None}, "the token has no subject"),
        ({"sub": 5}, "the token's claim sub is not a name"),
        ({"sub": ["ada"]}, "the token's claim sub is not a name"),
        ({"sub": ""}, "the token's claim sub is not a name"),
        ({"sub": "a\r\nx: y"}, "the token's claim sub is not a name"),
        ({"sub": "a" * 256}, "the token's claim sub is not a name"),
        ({"org_id": 5}, "the token's claim org_id is not a name"),
        ({"org_id": "%" * 130}, "the token's subject is too long"),
        ({"scope": 5}, "the token's claim scope is not a list of scopes"),
        ({"permissions": ["a", 5]}, "the token's claim permissions is not a list of scopes"),
        ({"permissions": ["crm", "\ud800"]}, "the token's claim permissions is not text"),
        ({"scope": " ".join(f"s{number}" for number in range(501))}, "the token has too many scopes"),
        ({"events": {LOGOUT_EVENT: {}}}, "the token is a logout token"),
        ({"cnf": []}, "the token's confirmation is not valid"),
        ({"cnf": {"x5t#S256": "short"}}, "the token's confirmation is not valid"),
        ({"cnf": {"jkt": "a" * 43}}, "the token is bound to a key, of which there is no proof"),
        ({"cnf": {"jkt": "a" * 43, "x5t#S256": "a" * 43}}, "the token is bound to a key, of which there is no proof"),
    ],
)
async def test_wrong_claims_are_named(claims: dict[str, Any], reason: str) -> None:
    world = World()
    # PyJWT refuses to sign some of these.
    content = f"{encoded({'alg': 'RS256', 'kid': 'k1'})}.{encoded(world.provider.claims(**claims))}"
    assert await world.reason(_signed(content)) == reason


def _signed(content: str, kid: str = "k1") -> str:
    signature = jwt.algorithms.get_default_algorithms()["RS256"].sign(content.encode(), private_key(kid))
    return f"{content}.{encoded(signature)}"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "none"}, "the token's algorithm is not accepted"),
        ({"alg": "None"}, "the token's algorithm is not accepted"),
        ({"alg": "RS512"}, "the token's algorithm is not accepted"),
        ({"alg": ["RS256"]}, "the token's algorithm is not accepted"),
        ({"alg": None}, "the token's algorithm is not accepted"),
        ({"alg": "ES256"}, "the token's key is for other algorithms"),
        ({"alg": "PS256"}, "the token's key is for other algorithms"),
        ({"kid": "unknown"}, "the token's key is not known"),
        ({"kid": "../../etc/passwd"}, "the token's key is not known"),
        ({"kid": "o1"}, "the token's key is not known"),
        ({"kid": ""}, "the token's key id is not valid"),
        ({"kid": 5}, "the token's key id is not valid"),
        ({"kid": "k" * 300}, "the token's key id is not valid"),
        ({"crit": ["exp"]}, "the token has extensions that are not supported"),
        ({"b64": False}, "the token has extensions that are not supported"),
        ({"cty": "JWT"}, "the token contains another token"),
        ({"typ": "logout+jwt"}, "the token has another type"),
        ({"typ": "dpop+jwt"}, "the token has another type"),
        ({"typ": 5}, "the token's type is not valid"),
        ({"jwk": jwk("evil")}, None),
        ({"jku": "https://evil.example/keys", "x5u": "https://evil.example/c"}, None),
        ({"typ": "at+jwt"}, None),
        ({"typ": "application/at+JWT"}, None),
    ],
)
async def test_wrong_headers_are_named(header: dict[str, Any], reason: str | None) -> None:
    world = World()
    fields = {name: value for name, value in ({"alg": "RS256", "kid": "k1"} | header).items() if value is not None}
    token = _signed(f"{encoded(fields)}.{encoded(world.provider.claims())}")
    if reason is None:
        assert (await world.verify(token)).id == "jwt+issuer.example:ada"
    else:
        assert await world.reason(token) == reason


async def test_the_public_key_is_no_shared_secret() -> None:
    world = World()
    content = f"{encoded({'alg': 'HS256', 'kid': 'k1'})}.{encoded(world.provider.claims())}"
    signature = hmac.digest(public_pem("k1"), content.encode(), "sha256")
    assert await world.reason(f"{content}.{encoded(signature)}") == "the token's algorithm is not accepted"


async def test_another_issuers_key_does_not_verify() -> None:
    world = World()
    forged = world.other.signed(world.provider.claims(), "k1", name="o1")
    assert await world.reason(forged) == "the token's signature is not valid"
    # The same key published by both: the token is still only that of the issuer that it names.
    world.other.keys = [jwk("k1")]
    world.ahead = 400
    token = world.provider.signed(world.other.claims(aud="theirs"), "k1")
    assert await world.reason(token) == "the token is for another audience"


async def test_unsigned_nested_and_malformed_tokens() -> None:
    world = World()
    good = world.provider.token()
    header, claims, signature = good.split(".")
    duplicate = encoded(b'{"iss":"%b","sub":"ada","sub":"eve"}' % ISSUER.encode())
    nested = _signed(f"{encoded({'alg': 'RS256', 'kid': 'k1'})}.{encoded(good.encode())}")
    for token in (
        f"{header}.{claims}.",
        f"{header}.{claims}",
        f"{header}.{claims}.{signature}.{signature}.{signature}",
        f"{header}.{encoded([1])}.{signature}",
        f"{header}.{encoded(b'{')}.{signature}",
        f"{header}.{encoded(b'[' * 5_000)}.{signature}",
        f"{header}.{encoded(DEEP)}.{signature}",
        f"{header}.{claims}.{signature[:-8]}",
        f"{header}.{claims}.{'A' * len(signature)}",
        _signed(f"{header}.{duplicate}"),
        nested,
        f"{good[:-10]}{'A' * 20_000}",
        "opaque",
        "..",
        "",
    ):
        assert await world.reason(token)


@given(st.text(alphabet="abcAB019-_.=", max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse(text)


async def test_a_token_without_a_key_id_needs_a_single_key() -> None:
    world = World()
    assert (await world.verify(world.provider.signed(world.provider.claims(), None, name="k1"))).id
    world = World([jwk("k1"), jwk("k2")])
    assert await world.reason(world.provider.signed(world.provider.claims(), None, name="k1")) == (
        "the token names no key, and its issuer has several"
    )


async def test_leeway_at_both_ends() -> None:
    world, now = World(leeway=60.0), int(time.time())
    assert (await world.verify(world.provider.token(exp=now - 30))).expires == now + 30
    assert await world.verify(world.provider.token(nbf=now + 30, iat=now + 30))
    world = World(leeway=0.0)
    assert await world.reason(world.provider.token(exp=now - 1)) == "the token has expired"


async def test_a_cached_token_ends_with_its_expiry() -> None:
    world = World(leeway=0.0)
    token = world.provider.token(exp=int(time.time()) + 100)
    await world.verify(token)
    world.ahead = 101
    assert world.tokens.cached(token, world.now()) is None
    assert await world.reason(token) == "the token has expired"


async def test_a_configured_type_is_required() -> None:
    world = World(types=("at+jwt",))
    assert await world.reason(world.provider.token()) == "the token has another type"  # PyJWT says JWT
    assert await world.verify(world.provider.token(header={"typ": "at+jwt"}))


async def test_required_claims() -> None:
    world = World(require=(("email_verified", (True,)), ("realm_access.roles", ("staff", "admin"))))
    assert await world.verify(world.provider.token(email_verified=True, realm_access={"roles": ["x", "admin"]}))
    assert await world.reason(world.provider.token(email_verified=1, realm_access={"roles": ["admin"]}))
    assert await world.reason(world.provider.token(email_verified=True, realm_access={"roles": []}))
    assert await world.reason(world.provider.token(email_verified=True)) == (
        "the token's claim realm_access.roles has not the required value"
    )


async def test_claims_by_name_and_by_path() -> None:
    names = ClaimNames(id="https://example.com/uid", tenant="org.id", scopes=("roles",), email="mail")
    world = World(claims=names)
    claims: dict[str, Any] = {
        "https://example.com/uid": "eve",
        "org": {"id": "o"},
        "roles": "a b",
        "mail": "e@x.example",
        "sub": None,
    }
    caller = await world.verify(world.provider.token(**claims))
    assert (caller.id, caller.scopes) == ("jwt+issuer.example+o:eve", frozenset({"a", "b"}))


async def test_an_address_that_is_not_confirmed_is_nobodys() -> None:
    world = World()
    caller = await world.verify(world.provider.token(email="boss@example.com", email_verified=False))
    assert caller.identity is not None
    assert caller.identity.email is None


@pytest.mark.parametrize(
    ("services", "scopes", "allowed"),
    [
        (None, "openid profile", {"crm", "mail"}),
        (None, None, {"crm", "mail"}),
        (None, "openid crm", {"crm"}),
        (None, "*", {"crm", "mail"}),
        (("crm",), "openid", {"crm"}),
        (("crm",), "mail", set()),
        (("crm",), "*", {"crm"}),
        (("*",), "mail", {"mail"}),
    ],
)
async def test_services_that_a_token_may_use(
    services: tuple[str, ...] | None, scopes: str | None, allowed: set[str]
) -> None:
    world = World(services=services)
    caller = await world.verify(world.provider.token(scope=scopes))
    assert {name for name in world.services if caller.may_use(name, ())} == allowed


async def test_required_scopes_and_the_gateways_own() -> None:
    world = World()
    caller = await world.verify(
        world.provider.token(scope="crm:read", scp=["a"], permissions=["b"], realm_access={"roles": ["metrics:read"]})
    )
    assert caller.may_use("crm", ["crm:read", "a", "b"])
    assert not caller.may_use("crm", ["crm:write"])
    assert caller.has_scope("metrics:read")
    world = World(services=("crm",))
    caller = await world.verify(world.provider.token(scope=" ".join(GATEWAY_SCOPES)))
    assert not any(caller.has_scope(scope) for scope in GATEWAY_SCOPES)


async def test_rotation_and_a_removed_key() -> None:
    world = World()
    old = world.provider.token("k1")
    assert await world.verify(old)
    world.provider.keys = [jwk("k1"), jwk("k2")]
    world.ahead = 1
    assert await world.verify(world.provider.token("k2"))
    world.provider.keys = [jwk("k2")]
    world.ahead = 400  # past the max-age
    assert await world.verify(world.provider.token("k2", sub="bob"))
    assert world.tokens.cached(old, world.now()) is None
    assert await world.reason(old) == "the token's key is not known"


async def test_known_keys_serve_while_the_issuer_is_away_for_an_hour() -> None:
    world = World()
    assert await world.verify(world.provider.token())
    world.down, world.ahead = True, 3_600
    exp = int(time.time()) + 7_200
    assert await world.verify(world.provider.token(sub="bob", exp=exp))
    world.ahead = 2 * 86_400
    with pytest.raises(InvalidToken):  # not for ever
        await world.verify(world.provider.token(sub="carl", exp=int(time.time()) + 10 * 86_400))


async def test_without_any_keys_verification_is_unavailable() -> None:
    world = World()
    world.down = True
    world.tokens.apply([], ())
    world.configure()
    with pytest.raises(AuthenticationUnavailable):
        await world.verify(world.provider.token())


async def test_a_thousand_unknown_keys_at_once_are_one_fetch() -> None:
    world = World()
    await world.verify(world.provider.token())
    before, world.ahead = world.fetches, 1
    tokens = [world.provider.signed(world.provider.claims(), f"u{n}", name="k1") for n in range(1_000)]
    results = await asyncio.gather(*map(world.verify, tokens), return_exceptions=True)
    assert {type(result) for result in results} == {InvalidToken}
    assert world.fetches == before + 1
    world.ahead = 20
    await world.reason(world.provider.signed(world.provider.claims(), "later", name="k1"))
    assert world.fetches == before + 1
    world.ahead = 32
    await world.reason(world.provider.signed(world.provider.claims(), "latest", name="k1"))
    assert world.fetches == before + 2


async def test_a_changed_issuer_forgets_its_callers() -> None:
    world = World()
    token = world.provider.token()
    assert await world.verify(token)
    world.configure(audience=("new",))
    assert await world.reason(token) == "the token is for another audience"
    world.configure(enabled=False)
    assert await world.reason(token) == "the token's issuer is not accepted"


async def test_an_issuer_with_faults_or_without_tls_is_unavailable() -> None:
    world = World(faults=("wrong",))
    with pytest.raises(AuthenticationUnavailable):
        await world.verify(world.provider.token())
    local = Issuer(issuer="http://127.0.0.1:5000", audience=(AUDIENCE,))
    world.tokens.apply([local], ())
    with pytest.raises(AuthenticationUnavailable):
        await world.verify(world.provider.token(iss=local.issuer))


async def test_a_set_of_a_thousand_keys() -> None:
    first = jwk("k1", alg=None)
    world = World([first | {"kid": f"k{number}"} for number in range(1_000)])
    started = time.process_time()
    assert await world.verify(_for_key(world, "k999"))
    assert time.process_time() - started < 5
    assert await world.reason(_for_key(world, "k1000")) == "the token's key is not known"


def _for_key(world: World, kid: str) -> str:
    return world.provider.signed(world.provider.claims(), kid, name="k1")


def test_members_of_a_key_that_are_not_set() -> None:
    """As .NET's JsonWebKey is serialized: every member, most of them null, and operations without any."""
    names = ("alg", "crv", "d", "dp", "dq", "k", "oth", "p", "q", "qi", "use", "x", "x5c", "x5t", "x5u", "y")
    nothings: tuple[Any, ...] = (None, "", [])
    for unset in nothings:
        written = dict.fromkeys(names, unset) | {"key_ops": []} | jwk("k1", use=unset, alg=unset)
        (key,) = jwks.parse(json.dumps({"keys": [written]}).encode())["k1"]
        assert key.algorithms == {Algorithm.RS256, Algorithm.PS256}


def test_keys_that_verify_nothing_are_left_out() -> None:
    good = jwk("good")
    small = {**good, "kid": "small", "n": encoded(b"\xff" * 128)}
    odd: list[Any] = [
        small,
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "ops", "key_ops": ["encrypt"]},
        {**good, "kid": "alg", "alg": "HS256"},
        {"kty": "oct", "k": encoded(b"secret"), "kid": "oct", "alg": "HS256"},
        {**good, "kid": "private", "d": "AQAB"},
        {**jwk("e", "ES256"), "kid": "curve", "crv": "P-384"},
        {"kty": ["RSA"], "kid": "list"},
        {"kid": "empty"},
        "text",
        None,
    ]
    keys = jwks.parse(json.dumps({"keys": [*odd, good]}).encode())
    assert set(keys) == {"good", jwks.ANY}
    assert keys["good"][0].algorithms == {Algorithm.RS256}
    for body in (b"{}", b'{"keys": []}', b"[]", b"null", json.dumps({"keys": odd}).encode(), b'{"keys":[],"keys":[]}'):
        with pytest.raises(ValueError):  # noqa: PT011 - any reason
            jwks.parse(body)


async def test_tokens_without_aud_are_compared_by_another_claim() -> None:
    """As Cognito's access tokens are, which name their client instead (oauth2-proxy had to learn it too)."""
    world = World(claims=ClaimNames(audience="client_id"))
    token = world.provider.token(aud=None, client_id=AUDIENCE)
    assert (await world.verify(token)).id.endswith(":ada")
    assert await world.reason(world.provider.token(aud=None, client_id="other")) == "the token is for another audience"
    assert await world.reason(world.provider.token(client_id=None)) == "the token has no audience"


async def test_one_of_several_audiences_suffices_on_either_side() -> None:
    world = World(audience=("first", "second"))
    for audience in ("second", ["other", "first"], ["second"]):
        assert (await world.verify(world.provider.token(aud=audience))).id.endswith(":ada")
    assert await world.reason(world.provider.token(aud=["other"])) == "the token is for another audience"


@pytest.mark.parametrize("issuer", ["https://issuer.example", "https://issuer.example/", "https://issuer.example/a/"])
async def test_an_issuer_is_taken_word_for_word_with_or_without_its_slash(issuer: str) -> None:
    world = World(issuer=issuer)
    assert (await world.verify(world.provider.token(iss=issuer))).id.endswith(":ada")
    other = issuer.removesuffix("/") if issuer.endswith("/") else f"{issuer}/"
    assert (await world.reason(world.provider.token(iss=other))).endswith("in the slash at its end")


async def test_times_as_text_and_padded_parts_are_refused() -> None:
    world = World()
    assert await world.reason(world.provider.token(exp="9999999999")) == "the token's claim exp is not a time"
    header, claims, signature = world.provider.token().split(".")
    for padded in (f"{header}=.{claims}.{signature}", f"{header}.{claims}==.{signature}"):
        assert await world.reason(padded) == "the token is not a JWT"


@pytest.mark.parametrize("kid", ["a", None])
async def test_a_key_that_is_replaced_under_its_id_or_without_one_is_fetched_at_once(kid: str | None) -> None:
    world = World([jwk(kid, name="old")])
    provider = world.provider
    await world.verify(provider.signed(provider.claims(), kid, name="old"))
    provider.keys = [jwk(kid, name="new")]
    world.ahead = 5.0
    token = provider.signed(provider.claims(sub="eve"), kid, name="new")
    assert (await world.verify(token)).id.endswith(":eve")
    assert "signature" in await world.reason(provider.signed(provider.claims(), kid, name="old"))


async def test_a_key_that_is_replaced_by_one_of_another_kind_is_fetched_at_once() -> None:
    world = World([jwk("a", "ES256")])
    await world.verify(world.provider.token("a", "ES256"))
    world.provider.keys = [jwk("a", "EdDSA")]
    world.ahead = 5.0
    assert (await world.verify(world.provider.token("a", "EdDSA", sub="eve"))).id.endswith(":eve")


async def test_wrong_signatures_cause_one_fetch_in_half_a_minute_and_delay_no_rotation() -> None:
    world = World([jwk("a")])
    provider = world.provider
    await world.verify(provider.token("a"))
    world.ahead = 5.0
    forged = [provider.signed(provider.claims(jti=str(number)), "a", name="forged") for number in range(50)]
    await asyncio.gather(*map(world.reason, forged))
    world.ahead = 34.0
    await world.reason(forged[0])
    assert world.fetches == 2
    provider.keys.append(jwk("b"))
    assert (await world.verify(provider.token("b"))).id.endswith(":ada")
    assert world.fetches == 3
    world.ahead = 66.0
    await world.reason(forged[0])
    assert world.fetches == 4


async def test_wrong_signatures_are_refused_as_such_while_the_issuer_is_away() -> None:
    world = World([jwk("a")])
    await world.verify(world.provider.token("a"))
    world.ahead, world.down = 5.0, True
    assert "signature" in await world.reason(world.provider.signed(world.provider.claims(), "a", name="forged"))
    assert await world.verify(world.provider.token("a", jti="1"))


@pytest.mark.parametrize(
    ("claims", "path", "found"),
    [
        ({"resource_access": {"my.app": {"roles": ["a"]}}}, "resource_access.my.app.roles", ["a"]),
        ({"https://example.com/app": {"roles": ["a"]}}, "https://example.com/app.roles", ["a"]),
        ({"https://example.com/roles": ["a"]}, "https://example.com/roles", ["a"]),
        ({"a": {"b": 1}, "a.b": 2}, "a.b", 2),
        ({"a": {"b": 1}}, "a.b.c", None),
        ({"a": [{"b": 1}]}, "a.b", None),
        ({"": {"": 1}}, ".", None),
    ],
)
def test_names_in_a_path_may_contain_dots(claims: dict[str, Any], path: str, found: object) -> None:
    assert claim(claims, path) == found
