"""Backends that respond as they did: in the time that it took, without a connection."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from metrics.replay.recorded_call import Attempt, RecordedCall
from routing.authentication.identity_signer import IdentitySigner
from routing.backend.client import Backend, BackendResponse, Call
from routing.caller import Caller
from routing.credentials.cipher import Cipher
from routing.credentials.driver import Credentials
from routing.credentials.holder import Holder
from routing.credentials.memory import MemoryStore
from routing.credentials.refresher import Refresher
from routing.credentials.token_endpoint import TokenEndpoint
from routing.credentials.vault import MemoryVault
from routing.errors import BadGateway, UpstreamTimeout
from routing.router.policy import Target, Timeout


class CallProgress:
    """The backend's behaviour towards one request, and how often it has been called for it."""

    __slots__ = ("_made", "call")

    def __init__(self, call: RecordedCall) -> None:
        self.call = call
        self._made = 0

    def next(self) -> Attempt:
        """What the next call meets: the last recorded attempt, if there are more calls than were recorded."""
        self._made += 1
        return self.call.attempts[min(self._made, len(self.call.attempts)) - 1]


CURRENT: Final[ContextVar[CallProgress]] = ContextVar("replayed call")
"""The call of the request that the running task replays."""


class RecordedBackend:
    """A Sender. A draft's shorter time-outs end calls that took longer; what a longer one would have met is not known:
    a call that has failed fails again.
    """

    async def send(
        self,
        target: Target,  # noqa: ARG002 - the protocol's
        call: Call,
        timeout: Timeout,  # noqa: ASYNC109 - the protocol's
        deadline: float,
    ) -> BackendResponse:
        progress = CURRENT.get()
        attempt = progress.next()
        if call.body is not None:
            async for _ in call.body:
                pass
        left = min(timeout.read, deadline - asyncio.get_running_loop().time())
        await asyncio.sleep(max(0.0, min(attempt.seconds, left)))
        if attempt.seconds > left or attempt.error == UpstreamTimeout.code:
            raise UpstreamTimeout(attempt.reason or "the response took longer than the time-out")
        if attempt.error:
            raise BadGateway(attempt.reason)
        recorded = progress.call
        # The length decides whether it is stored. As a field, it would make a response without its content incomplete.
        return BackendResponse(attempt.status, [*recorded.headers], recorded.length, RecordedBody(recorded.tail))


class RecordedBody:
    """A body that ends after `seconds` without content, since none is recorded."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def complete_body(self) -> bytes | None:
        return None if self._seconds else b""

    def __aiter__(self) -> "RecordedBody":
        return self

    async def __anext__(self) -> bytes:
        seconds, self._seconds = self._seconds, 0.0
        if seconds:
            await asyncio.sleep(seconds)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._seconds = 0.0


class UnusedSigner(IdentitySigner):
    """Nobody receives what it signs."""

    def token(self, caller: Caller, *, audience: str, issuer: str, now: float, seconds: float) -> bytes:  # noqa: ARG002 - the base class's
        return b""


class GrantedCredentials(Credentials):
    """Each caller that may have a credential for a backend has one: connected accounts are not recorded."""

    def __init__(self, clock: Callable[[], float]) -> None:
        cipher = Cipher((), "replay")
        refresher = Refresher(TokenEndpoint(Backend(), clock), MemoryVault(), cipher, secret=b"", clock=clock)
        super().__init__(MemoryStore(clock), refresher, cipher, secret=b"", clock=clock)

    def try_use(self, holder: Holder) -> bool:  # noqa: ARG002 - the base class's
        return True

    async def replace(self, holder: Holder, refused: bytes) -> bool:  # noqa: ARG002 - the base class's
        return False
