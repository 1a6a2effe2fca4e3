import asyncio
import json
import time
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from routing.authentication import caller_cache, firebase, key_waits
from routing.authentication.firebase import EMULATOR, FirebaseVerifier, check_emulator
from routing.caller import Caller
from routing.errors import AuthenticationUnavailable, InvalidToken, Unauthenticated
from tests.firebase import KID, PROJECT, FirebaseIssuer, certificate, encoded, serving
from tests.resilience.waiting import until


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
    monkeypatch.setattr(caller_cache, "MAX_CACHED", 2)
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


async def test_cached_callers_and_new_ones_are_accepted_while_the_keys_are_unavailable(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    issuer.cache_control = "no-store"
    token = issuer.token()
    caller = await verifier.verify(token, clock())
    issuer.status = 500
    assert (await verifier.verify(issuer.token(sub="bob"), clock())).id == "firebase:bob"
    assert await verifier.verify(token, clock()) == caller


def signed_by(issuer: FirebaseIssuer, kid: str, **claims: object) -> str:
    return issuer.token(header={"alg": "RS256", "kid": kid}, signer=kid, **claims)


OUTAGES: dict[str, dict[str, object]] = {
    "closes connections": {"status": 0},
    "fails": {"status": 500},
    "redirects": {"status": 302},
    "returns a page": {"answer": b"<html>Sign in to the network</html>"},
    "returns no keys": {"answer": b"{}"},
    "returns other members": {"answer": b'{"key-1": "x", "keys": []}'},
    "returns too much": {"answer": b" " * 300_000},
}


@pytest.mark.parametrize("outage", OUTAGES)
async def test_the_last_keys_are_used_while_the_endpoint(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock, outage: str
) -> None:
    await verifier.verify(issuer.token(), clock())
    working = issuer.status, issuer.answer
    for name, value in OUTAGES[outage].items():
        setattr(issuer, name, value)
    clock.now += 3_000
    expiry = int(clock.now) + 9_000
    for _ in range(5):
        clock.now += 601
        token = issuer.token(sub=f"user-{clock.now}", exp=expiry)
        assert (await verifier.verify(token, clock())).id.startswith("firebase:user-")
    assert verifier.keys.fault is not None
    await until(lambda: verifier.keys._running == 0)
    issuer.status, issuer.answer = working
    clock.now += 2
    await verifier.verify(issuer.token(sub="bob", exp=expiry), clock())
    await until(lambda: verifier.keys.fault is None)


async def test_a_hanging_endpoint_delays_no_token_whose_key_is_known(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    await verifier.verify(issuer.token(), clock())
    issuer.gate.clear()
    clock.now += 3_601
    expiry = int(clock.now) + 600
    tokens = [issuer.token(sub=f"user-{number}", exp=expiry) for number in range(20)]
    strangers = [issuer.token(header={"alg": "RS256", "kid": f"random-{number}"}, exp=expiry) for number in range(20)]
    waiting = [asyncio.create_task(verifier.verify(token, clock())) for token in strangers]
    callers = await asyncio.wait_for(asyncio.gather(*(verifier.verify(token, clock()) for token in tokens)), 3)
    assert {caller.id for caller in callers} == {f"firebase:user-{number}" for number in range(20)}
    assert not any(task.done() for task in waiting)
    assert issuer.fetches == 2
    issuer.gate.set()
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in refused} == {InvalidToken}


async def test_a_flood_of_unknown_keys_neither_fetches_nor_disturbs(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_waits, "MAX_WAITING", 5)
    await verifier.verify(issuer.token(), clock())
    issuer.gate.clear()
    clock.now += 1
    strangers = [issuer.token(header={"alg": "RS256", "kid": f"random-{number}"}) for number in range(20)]
    flood = [asyncio.create_task(verifier.verify(token, clock())) for token in strangers]
    await asyncio.sleep(0)
    assert (await verifier.verify(issuer.token(sub="bob"), clock())).id == "firebase:bob"
    issuer.gate.set()
    outcomes = [type(error) for error in await asyncio.gather(*flood, return_exceptions=True)]
    assert (outcomes.count(InvalidToken), outcomes.count(AuthenticationUnavailable)) == (5, 15)
    assert issuer.fetches == 2


async def test_a_new_key_is_accepted_at_once_and_a_removed_one_no_longer(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    old = issuer.token()
    await verifier.verify(old, clock())
    issuer.publish("key-2")
    clock.now += 1
    new = signed_by(issuer, "key-2", sub="bob")
    assert (await verifier.verify(new, clock())).id == "firebase:bob"
    assert verifier.cached(old, clock()) is None
    await rejection(verifier, old, clock)
    await rejection(verifier, issuer.token(sub="eve"), clock)
    assert issuer.fetches == 2


async def test_a_key_that_was_removed_is_refused_after_the_max_age(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    await verifier.verify(issuer.token(), clock())
    issuer.publish("key-2")
    clock.now += 3_601
    await rejection(verifier, issuer.token(sub="bob", exp=int(clock.now) + 60), clock)


async def test_a_new_certificate_of_a_known_key_replaces_the_old_one(
    verifier: FirebaseVerifier, issuer: FirebaseIssuer, clock: Clock
) -> None:
    token = issuer.token()
    await verifier.verify(token, clock())
    issuer.answer = json.dumps({KID: certificate("stranger"), "key-2": certificate("key-2")}).encode()
    clock.now += 1
    await verifier.verify(signed_by(issuer, "key-2"), clock())
    await rejection(verifier, token, clock)


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
    monkeypatch.setattr(key_waits, "MAX_WAITING", 2)
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
    monkeypatch.setattr(key_waits, "WAIT_SECONDS", 0.01)
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
