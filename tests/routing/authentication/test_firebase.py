import asyncio
import json
import time
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from routing.authentication import firebase
from routing.authentication.firebase import EMULATOR, FirebaseVerifier, check_emulator
from routing.caller import Caller
from routing.errors import AuthenticationUnavailable, Unauthenticated
from tests.firebase import KID, PROJECT, FirebaseIssuer, certificate, encoded, serving


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[FirebaseIssuer]:
    with serving(FirebaseIssuer()) as issuer:
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(issuer: FirebaseIssuer, clock: Clock) -> Iterator[FirebaseVerifier]:
    verifier = FirebaseVerifier(PROJECT, clock=clock)
    yield verifier
    verifier.close()


def hs256(secret: bytes) -> str:
    content = f"{encoded({'alg': 'HS256', 'kid': KID})}.{encoded(FirebaseIssuer().claims())}"
    mac = hmac.HMAC(secret, hashes.SHA256())
    mac.update(content.encode())
    return f"{content}.{encoded(mac.finalize())}"


def public_key() -> bytes:
    key = x509.load_pem_x509_certificate(certificate(KID).encode()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def with_header(token: str, **header: object) -> str:
    return f"{encoded({'alg': 'RS256', 'kid': KID} | header)}.{token.split('.', 1)[1]}"


def forgeries() -> dict[str, str]:
    """Invalid tokens, by what is wrong with them. Their times are relative to the present."""
    issuer = FirebaseIssuer()
    valid, now = issuer.token(), int(time.time())
    head, body, signature = valid.split(".")
    custom = "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit"
    return {
        "issued in the future": issuer.token(iat=now + 600),
        "authenticated in the future": issuer.token(auth_time=now + 600),
        "another project": issuer.token(aud="other"),
        "another issuer": issuer.token(iss="https://accounts.google.com"),
        "another project's issuer": issuer.token(iss="https://securetoken.google.com/other"),
        "a session cookie": issuer.token(iss=f"https://session.firebase.google.com/{PROJECT}"),
        "a custom token": issuer.token(aud=custom, iss="robot@example.com", uid="ada"),
        "alg none, unsigned": f"{encoded({'alg': 'none', 'kid': KID})}.{body}.",
        "alg none, signed": f"{encoded({'alg': 'none', 'kid': KID})}.{body}.{signature}",
        "RS256, unsigned": f"{head}.{body}.",
        "HS256 with the certificate": hs256(certificate(KID).encode()),
        "HS256 with the public key": hs256(public_key()),
        "another key under a known id": issuer.token(signer="stranger"),
        "truncated signature": valid[:-8],
        "signature of odd length": f"{head}.{body}.A",
        "claims of another user": f"{head}.{encoded(issuer.claims(sub='root'))}.{signature}",
        "unknown kid": with_header(valid, kid="nobody"),
        "no kid": issuer.token(header={"alg": "RS256"}),
        "a list as kid": issuer.token(header={"alg": "RS256", "kid": [KID]}),
        "no subject": issuer.token(sub=None),
        "empty subject": issuer.token(sub=""),
        "a number as subject": issuer.token(sub=7),
        "long subject": issuer.token(sub="a" * 129),
        "a newline in the subject": issuer.token(sub="ada\nroot"),
        "a trailing space in the subject": issuer.token(sub="ada "),
        "no expiry": issuer.token(exp=None),
        "no issue time": issuer.token(iat=None),
        "text as expiry": issuer.token(exp="tomorrow"),
        "a list of audiences": issuer.token(aud=[PROJECT]),
        "empty": "",
        "not a token": "hello",
        "three dots": "...",
        "garbage in three parts": "abc.def.ghi",
        "four parts": valid + ".x",
        "claims that are a list": f"{head}.{encoded([1])}.{signature}",
        "nested too deeply": f"{head}.{encoded(b'[' * 8_000)}.{signature}",
        "a megabyte of junk": "a" * 1_000_000,
        "a megabyte with dots": f"{head}.{'a' * 1_000_000}.{signature}",
        "not ASCII": valid[:-1] + "é",
        "a lone surrogate": "\ud800",
    }


async def rejection(verifier: FirebaseVerifier, token: str, clock: Clock) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as rejected:
        await verifier.verify(token, clock())
    return rejected.value


async def test_a_valid_token_names_its_caller(verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock) -> None:
    expiry = int(clock.now) + 600
    token = issuer.token(exp=expiry, scopes=["crm"], firebase={"tenant": "acme"})
    assert await verifier.verify(token, clock()) == Caller(
        "firebase+acme:ada", "acme", frozenset({"crm"}), float(expiry)
    )


@pytest.fixture(scope="module")
def forged() -> dict[str, str]:
    """Issued when the tests of this module start, which may be long after collection."""
    return forgeries()


@pytest.mark.parametrize("name", forgeries())
async def test_an_invalid_token_is_rejected(
    verifier: FirebaseVerifier, clock: Clock, forged: dict[str, str], name: str
) -> None:
    token = forged[name]
    rejected = await rejection(verifier, token, clock)
    assert rejected.detail == "the token is not valid"
    assert rejected.__cause__ is None
    assert verifier.cached(token, clock()) is None


async def test_an_expired_token_is_reported_as_such(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    token = issuer.token(exp=int(clock.now) - 1)
    assert (await rejection(verifier, token, clock)).detail == "the token has expired"


async def test_an_expired_token_is_rejected_by_the_library_too(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    issued_at = int(clock.now) - 7_200
    token = issuer.token(iat=issued_at, auth_time=issued_at, exp=int(clock.now) - 60)
    clock.now -= 3_600
    assert (await rejection(verifier, token, clock)).detail == "the token has expired"
    assert issuer.fetches == 1


async def test_the_keys_are_fetched_once_for_many_tokens(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    for uid in ("ada", "bob", "eve"):
        await verifier.verify(issuer.token(sub=uid), clock())
    await rejection(verifier, with_header(issuer.token(), kid="nobody"), clock)
    assert issuer.fetches == 1


async def test_malformed_tokens_never_cause_a_key_fetch(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    for token in ("a.b.c", "", issuer.token(aud="other"), issuer.token(header={"alg": "none"})):
        await rejection(verifier, token, clock)
    assert issuer.fetches == 0


async def test_a_token_is_cached_for_five_minutes(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    token = issuer.token()
    assert verifier.cached(token, clock()) is None
    caller = await verifier.verify(token, clock())
    assert verifier.cached(token, clock() + 299) == caller
    assert verifier.cached(token, clock() + 300) is None
    assert verifier.cached(token, clock()) is None


async def test_a_cached_token_is_removed_when_it_expires(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    expiry = int(clock.now) + 60
    token = issuer.token(exp=expiry)
    await verifier.verify(token, clock())
    assert verifier.cached(token, expiry - 1) is not None
    assert verifier.cached(token, expiry) is None
    clock.now = expiry
    assert (await rejection(verifier, token, clock)).detail == "the token has expired"


async def test_the_least_recently_used_token_is_evicted_first(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firebase, "MAX_CACHED", 2)
    first, second, third = (issuer.token(sub=uid) for uid in ("a", "b", "c"))
    await verifier.verify(first, clock())
    await verifier.verify(second, clock())
    assert verifier.cached(first, clock()) is not None
    await verifier.verify(third, clock())
    assert verifier.cached(second, clock()) is None
    assert verifier.cached(first, clock()) is not None


def crafted(header: bytes = b"", claims: bytes = b"") -> str:
    """A forged token with valid header and claims, to which other members are added."""
    head = b'{"alg":"RS256","kid":"key-1"' + header + b"}"
    return f"{encoded(head)}.{encoded(encoded_claims()[:-1] + claims + b'}')}.{encoded(b'x' * 256)}"


def encoded_claims() -> bytes:
    return json.dumps(FirebaseIssuer().claims()).encode()


@pytest.mark.parametrize(
    "token",
    [
        crafted(),
        crafted(header=b',"kid":"keys"'),
        crafted(header=b',"kid":"__class__"'),
        crafted(header=b',"x":"\xff"'),
        crafted(claims=b',"x":"\xff"'),
        crafted(claims=b',"x":"\\ud800"'),
        crafted(claims=b',"x":NaN'),
        crafted(claims=b',"x":1e999'),
        crafted(claims=b',"x":' + b"9" * 5_000),
        crafted(claims=b',"exp":' + b"9" * 300),
        crafted(claims=b',"x":' + b"[" * 500 + b"]" * 500),
        crafted(claims=b',"x":' + b"[" * 950 + b"]" * 950),
        crafted(claims=b',"x":' + b"[" * 4_000 + b"]" * 4_000),
    ],
)
async def test_a_crafted_token_does_not_break_the_verifier(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock, token: str
) -> None:
    assert (await rejection(verifier, token, clock)).detail == "the token is not valid"
    assert (await verifier.verify(issuer.token(), clock())).id == "firebase:ada"


@pytest.mark.parametrize(
    ("status", "answer"),
    [(500, b"{}"), (404, b""), (200, b"<html>"), (200, b"\xff"), (200, b"3"), (200, b'{"key-1": "x"}')],
)
async def test_without_keys_verification_is_unavailable(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock, status: int, answer: bytes
) -> None:
    issuer.status, issuer.answer = status, answer
    with pytest.raises(AuthenticationUnavailable) as rejected:
        await verifier.verify(issuer.token(), clock())
    assert rejected.value.retry_after == 2.0


async def test_it_pauses_after_a_failed_fetch_and_then_recovers(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    token, issuer.status = issuer.token(), 500
    for _ in range(3):
        with pytest.raises(AuthenticationUnavailable):
            await verifier.verify(token, clock())
    assert issuer.fetches == 1
    issuer.status = 200
    clock.now += 2
    assert (await verifier.verify(token, clock())).id == "firebase:ada"


async def test_cached_callers_are_accepted_while_the_keys_are_unavailable(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    issuer.cache_control = "no-store"
    token = issuer.token()
    caller = await verifier.verify(token, clock())
    issuer.status = 500
    with pytest.raises(AuthenticationUnavailable):
        await verifier.verify(issuer.token(sub="bob"), clock())
    assert await verifier.verify(token, clock()) == caller


async def test_concurrent_verifications_of_a_token_are_shared(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    issuer.cache_control = "no-store"
    issuer.gate.clear()
    token = issuer.token()
    waiting = [asyncio.create_task(verifier.verify(token, clock())) for _ in range(10)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    issuer.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert {caller.id for caller in outcomes[1:] if isinstance(caller, Caller)} == {"firebase:ada"}
    assert issuer.fetches == 1


async def test_a_full_queue_rejects_new_tokens(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firebase, "MAX_PENDING", 2)
    issuer.gate.clear()
    waiting = [asyncio.create_task(verifier.verify(issuer.token(sub=uid), clock())) for uid in ("a", "b")]
    await asyncio.sleep(0)
    with pytest.raises(AuthenticationUnavailable):
        await verifier.verify(issuer.token(sub="c"), clock())
    issuer.gate.set()
    assert [caller.id for caller in await asyncio.gather(*waiting)] == ["firebase:a", "firebase:b"]


async def test_a_fetch_that_hangs_times_out(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firebase, "VERIFY_TIMEOUT_SECONDS", 0.01)
    issuer.gate.clear()
    with pytest.raises(AuthenticationUnavailable):
        await verifier.verify(issuer.token(), clock())


@pytest.mark.parametrize(("environment", "emulator"), [({}, None), ({EMULATOR: ""}, None), ({EMULATOR: "h:1"}, "h:1")])
def test_the_configured_emulator_is_accepted(environment: dict[str, str], emulator: str | None) -> None:
    check_emulator(environment, emulator)


@pytest.mark.parametrize(
    ("environment", "emulator"), [({EMULATOR: "h:1"}, None), ({EMULATOR: "h:1"}, "h:2"), ({}, "h:1")]
)
def test_any_other_emulator_is_rejected(environment: dict[str, str], emulator: str | None) -> None:
    with pytest.raises(ValueError, match=EMULATOR):
        check_emulator(environment, emulator)


def test_it_does_not_start_with_an_unconfigured_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR, "127.0.0.1:9099")
    with pytest.raises(ValueError, match=EMULATOR):
        FirebaseVerifier(PROJECT, clock=time.time)


async def test_an_unsigned_token_of_the_configured_emulator_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR, "127.0.0.1:9099")
    verifier = FirebaseVerifier(PROJECT, clock=time.time, emulator="127.0.0.1:9099")
    token = f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(FirebaseIssuer().claims())}."
    assert (await verifier.verify(token, time.time())).id == "firebase:ada"
    verifier.close()
