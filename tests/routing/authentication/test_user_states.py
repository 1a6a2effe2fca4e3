"""Users of Firebase that are disabled, deleted, or have had their tokens revoked: looked up, kept, and away."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from routing.authentication import user_states
from routing.authentication.firebase import EMULATOR, FirebaseVerifier
from routing.authentication.user_states import CHECK_SECONDS, RETRY_SECONDS, STALE_SECONDS, User, UserState, UserStates
from routing.errors import AuthenticationUnavailable, InvalidToken
from tests.clock import FakeClock
from tests.firebase import PROJECT, FirebaseIssuer, encoded
from tests.resilience.cache.entries import until

ADA = User("ada", None)


@dataclass
class Provider:
    """A fake of the lookup. `gate` delays lookups while it is clear."""

    state: UserState = field(default_factory=UserState)
    fault: Exception | None = None
    lookups: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def look_up(self, _user: User) -> UserState:
        self.lookups += 1
        self.gate.wait(10)
        if self.fault is not None:
            raise self.fault
        return self.state


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def users(provider: Provider, clock: FakeClock) -> Iterator[UserStates]:
    states = UserStates(provider.look_up, clock)
    yield states
    provider.gate.set()
    states.close()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (UserState(), None),
        (UserState(valid_after=100.0), None),
        (UserState(valid_after=100.5), "the token was revoked"),
        (UserState(disabled=True), "the token's user is disabled"),
        (UserState(exists=False), "the token's user does not exist"),
    ],
)
async def test_a_user_s_state_decides(
    users: UserStates, provider: Provider, state: UserState, reason: str | None
) -> None:
    provider.state = state
    if reason is None:
        await users.check(ADA, 100.0)
        return
    with pytest.raises(InvalidToken, match=reason):
        await users.check(ADA, 100.0)


async def test_a_user_is_looked_up_once_a_minute_whatever_the_number_of_its_tokens(
    users: UserStates, provider: Provider, clock: FakeClock
) -> None:
    provider.gate.clear()
    checks = [asyncio.create_task(users.check(ADA, float(number))) for number in range(100)]
    await asyncio.sleep(0)
    provider.gate.set()
    await asyncio.gather(*checks)
    clock.advance(CHECK_SECONDS - 1)
    await users.check(ADA, 0.0)
    assert provider.lookups == 1
    provider.state = UserState(disabled=True)
    clock.advance(1)
    with pytest.raises(InvalidToken, match="disabled"):
        await users.check(ADA, 0.0)


async def test_while_the_provider_is_away_known_users_are_accepted_for_ten_minutes_and_others_are_not(
    users: UserStates, provider: Provider, clock: FakeClock
) -> None:
    await users.check(ADA, 0.0)
    provider.fault = OSError("away")
    clock.advance(STALE_SECONDS - 1)
    await users.check(ADA, 0.0)
    with pytest.raises(AuthenticationUnavailable):
        await users.check(User("eve", None), 0.0)
    clock.advance(1)
    with pytest.raises(AuthenticationUnavailable):
        await users.check(ADA, 0.0)
    provider.fault = None
    clock.advance(RETRY_SECONDS)
    await users.check(ADA, 0.0)


async def test_a_revoked_user_stays_revoked_while_the_provider_is_away(
    users: UserStates, provider: Provider, clock: FakeClock
) -> None:
    provider.state = UserState(disabled=True)
    for _ in range(2):
        with pytest.raises(InvalidToken):
            await users.check(ADA, 0.0)
        provider.fault = OSError("away")
        clock.advance(CHECK_SECONDS)


async def test_a_provider_that_fails_is_called_every_two_seconds(
    users: UserStates, provider: Provider, clock: FakeClock
) -> None:
    provider.fault = OSError("away")
    for number in range(50):
        with pytest.raises(AuthenticationUnavailable):
            await users.check(User(f"u{number}", None), 0.0)
    assert provider.lookups == 1
    clock.advance(RETRY_SECONDS)
    with pytest.raises(AuthenticationUnavailable):
        await users.check(ADA, 0.0)
    assert provider.lookups == 2


async def test_a_provider_that_hangs_delays_a_request_for_a_bounded_time(
    users: UserStates, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_states, "TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(user_states, "MAX_PENDING", 3)
    provider.gate.clear()
    for number in range(6):
        with pytest.raises(AuthenticationUnavailable):
            await users.check(User(f"u{number}", None), 0.0)
    assert provider.lookups <= 3


def test_a_lookup_that_outlives_its_loop_is_no_error(
    users: UserStates, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """As at the end of a process."""

    async def leave() -> None:
        waiting = asyncio.create_task(users.check(ADA, 0.0))
        await until(lambda: provider.lookups > 0)
        waiting.cancel()

    provider.gate.clear()
    asyncio.run(leave())
    (lookup,) = users._pending.values()
    provider.gate.set()
    lookup.result(10)
    users._threads.shutdown()
    assert not caplog.records


async def test_users_of_tenants_are_other_users(users: UserStates, provider: Provider) -> None:
    await users.check(ADA, 0.0)
    provider.state = UserState(disabled=True)
    with pytest.raises(InvalidToken):
        await users.check(User("ada", "acme"), 0.0)


@dataclass
class Emulator:
    """What the provider's `accounts:lookup` returns, by the path's tenant; and the paths of requests."""

    users: dict[str, dict[str, Any]]
    status: int = 200
    paths: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def emulator(users: dict[str, dict[str, Any]]) -> Iterator[Emulator]:
    state = Emulator(users)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.paths.append(self.path)
            wanted = json.loads(self.rfile.read(int(self.headers["content-length"])))["localId"][0]
            tenant = self.path.partition("/tenants/")[2].partition("/")[0]
            found = state.users.get(f"{tenant}/{wanted}")
            body = json.dumps({"users": [{"localId": wanted, **found}]} if found is not None else {}).encode()
            self.send_response(state.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


async def test_the_library_looks_users_and_tenants_users_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = int(time.time())
    users: dict[str, dict[str, Any]] = {
        "/ada": {"validSince": str(now - 100)},
        "/eve": {"disabled": True},
        "acme/ada": {"validSince": str(now)},
    }
    with emulator(users) as server:
        monkeypatch.setenv(EMULATOR, server.address)
        verifier = FirebaseVerifier(PROJECT, clock=time.time, emulator=server.address, check_revoked=True)

        async def verify(**claims: object) -> str:
            token = f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(FirebaseIssuer().claims(**claims))}."
            try:
                caller = await verifier.verify(token, time.time())
            except InvalidToken as error:
                return error.detail
            assert verifier.cached(token, time.time() + CHECK_SECONDS - 5) is caller
            assert verifier.cached(token, time.time() + CHECK_SECONDS + 1) is None
            return caller.id

        try:
            assert await verify() == "firebase:ada"
            assert await verify(jti="another token") == "firebase:ada"
            assert len(server.paths) == 1
            assert await verify(iat=now - 200) == "the token was revoked"
            assert await verify(sub="eve") == "the token's user is disabled"
            assert await verify(sub="bob") == "the token's user does not exist"
            assert await verify(firebase={"tenant": "acme"}) == "the token was revoked"
            assert server.paths[-1].endswith(f"/projects/{PROJECT}/tenants/acme/accounts:lookup")
            server.status = 400
            with pytest.raises(AuthenticationUnavailable):
                await verify(sub="new")
        finally:
            verifier.close()
