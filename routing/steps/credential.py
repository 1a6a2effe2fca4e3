"""The gateway's own credential for a backend: obtained before the call, and once more if the backend refuses it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import inf
from typing import Final, TypeVar

from routing.credentials.driver import Credentials
from routing.credentials.holder import Holder, UsedCredential
from routing.errors import CredentialFailed, ServiceMisconfigured
from routing.exchange import Exchange
from routing.messages.outcome import OutcomeClass
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.steps.calls import Calls
from routing.steps.remaining_time import seconds_left, within

STEP: Final = "credential"
T = TypeVar("T")


class CredentialSteps:
    """For routes that have a credential; others do not take these steps. `timer` is monotonic seconds."""

    def __init__(
        self,
        credentials: Credentials | None,
        calls: Calls,
        *,
        emit: EventSink = lambda _event: None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._credentials = credentials
        self._calls = calls
        self._emit = emit
        self._timer = timer

    def attach(self, exchange: Exchange) -> Awaitable[None] | None:
        """Before step 7: the header field with the credential. Waits only if there is no valid token.

        Raises CredentialFailed, and Forbidden where the caller has no credential.
        """
        policy = exchange.match.policy.credential
        if policy is None:
            return None
        credentials = self._opened(exchange)
        holder = credentials.of(exchange.service, policy, exchange.caller)
        if not credentials.try_use(holder):
            return self._wait(exchange, credentials, holder)
        self._attached(exchange, holder)
        return None

    def renew(self, exchange: Exchange) -> Awaitable[None] | None:
        """After step 7: where the backend refused the credential, the same call with another one, once."""
        call, used = exchange.call.call, exchange.used_credential
        if call is None or used is None or not _is_refused(exchange):
            return None
        return self._renew(exchange, used)

    async def renew_handshake(self, exchange: Exchange) -> bool:
        """Whether a WebSocket's handshake that the backend refused may be sent again with another credential."""
        call, used = exchange.call.call, exchange.used_credential
        if call is None or used is None or not _is_refused(exchange):
            return False
        if not await self._opened(exchange).replace(used.holder, used.field[1]):
            return False
        self._attached(exchange, used.holder)
        return True

    async def call(self, exchange: Exchange) -> None:
        """Steps 6 and 7 with these steps around them, for calls outside the list of steps. Raises what they raise."""
        for step in (self.attach, self._calls.admit, self._calls.call, self.renew):
            waiting = step(exchange)
            if waiting is not None:
                await waiting

    async def _wait(self, exchange: Exchange, credentials: Credentials, holder: Holder) -> None:
        if exchange.request.watch_disconnect:
            exchange.request.watch_disconnect()
        await self._within_limit(exchange, credentials.use(holder))
        self._attached(exchange, holder)

    async def _renew(self, exchange: Exchange, used: UsedCredential) -> None:
        credentials, holder, call = self._opened(exchange), used.holder, exchange.call.call
        assert call is not None  # noqa: S101 - `renew` has seen it
        try:
            renewed = await self._within_limit(exchange, credentials.replace(holder, used.field[1]))
        except BaseException:
            await call.discard()
            raise
        left = seconds_left(exchange, self._timer())
        if not renewed or left <= 0 or not _may_be_sent_again(exchange):
            self._mark(exchange, "refused by the service")
            return
        await call.discard()
        await self._call_again(exchange, left)
        sent = exchange.used_credential
        if sent is not None and _is_refused(exchange):
            await credentials.refused_again(holder, sent.field[1])

    async def _call_again(self, exchange: Exchange, left: float) -> None:
        upload = exchange.call.upload
        if upload is not None:
            exchange.request.body = upload.chunks()
        exchange.match = within(exchange.match, left)
        used = exchange.used_credential
        assert used is not None  # noqa: S101 - `renew` has seen it
        self._attached(exchange, used.holder)
        self._emit(BackendEvent(kind=BackendEventKind.RETRIED, service=exchange.service, detail="credential refused"))
        admitting = self._calls.admit(exchange)
        if admitting is not None:
            await admitting
        await self._calls.call(exchange)

    async def _within_limit(self, exchange: Exchange, work: Awaitable[T]) -> T:
        left = seconds_left(exchange, self._timer())
        try:
            async with asyncio.timeout(None if left == inf else max(left, 0.001)):
                return await work
        except TimeoutError:
            detail = "the gateway did not obtain a credential for the service in time"
            raise CredentialFailed(detail, service=exchange.service) from None

    def _attached(self, exchange: Exchange, holder: Holder) -> None:
        exchange.used_credential = UsedCredential(holder, holder.field)
        if exchange.step_log is not None:
            self._mark(exchange, holder.policy.per.value)

    def _opened(self, exchange: Exchange) -> Credentials:
        if self._credentials is None:
            raise ServiceMisconfigured("the service cannot be called", service=exchange.service)
        return self._credentials

    def _mark(self, exchange: Exchange, verdict: str) -> None:
        exchange.mark(STEP, verdict, self._timer())


def _is_refused(exchange: Exchange) -> bool:
    """Whether the backend did not accept the credential: by the response's class, or by its status if it has none."""
    outcome, call = exchange.call.outcome, exchange.call.call
    if outcome is not None:
        return outcome is OutcomeClass.OURS
    return call is not None and call.response.status == HTTPStatus.UNAUTHORIZED


def _may_be_sent_again(exchange: Exchange) -> bool:
    """Whether the request can be sent again: the backend has done nothing, so only the body matters."""
    upload = exchange.call.upload
    return upload is None or upload.replayable
