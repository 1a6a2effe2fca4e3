"""Delivers events of usage to a URL: one worker of the cluster at a time, until each has been accepted.

The receiver may get an event twice, with the same id.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, TypeVar

from metrics.usage.cloudevents import BATCH_SIZE, CONTENT_TYPE, CloudEvent, Format, duplicates, encode
from metrics.usage.outbox import Outbox
from resilience.holdoff.waits import announced_wait
from resilience.outage import StoreUnavailable
from resilience.throttled_log import ThrottledLog
from routing.backend.client import Backend, Call
from routing.database.connection import in_thread
from routing.errors import CallFailed, GatewayError
from routing.http import Headers
from routing.messages.bodies import read_up_to
from routing.router.policy import Target, Timeout

T = TypeVar("T")
log = logging.getLogger(__name__)

TICK_SECONDS: Final = 2.0
"""How often a worker looks whether it may deliver."""
LIMIT_SECONDS: Final = 10.0
"""The time limit of one request, name lookup included."""
MAX_RESPONSE_BYTES: Final = 256 * 1024
MAX_RETRY_AFTER_SECONDS: Final = 3_600.0
REFUSALS: Final = frozenset({400, 409, 413, 422})
"""Statuses that are about the content of a request, and may be about one of its events."""
CONFLICT: Final = 409
MAX_REJECTIONS: Final = 10
"""Events that may be rejected one after another; after that, the receiver is taken to refuse everything."""


class Response(NamedTuple):
    status: int
    headers: Headers
    body: bytes


class DeliveryFailed(Exception):
    """`retry_after` is in seconds, 0 if the receiver has named no time."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class LostClaim(Exception):
    """Another worker delivers."""


class UsageSender:
    """`headers` returns the configured fields with their secrets, which may change; it blocks, and raises ValueError.
    `clock` is the Unix time that workers share.
    """

    def __init__(
        self,
        outbox: Outbox,
        client: Backend,
        *,
        url: str,
        form: Format,
        headers: Callable[[], Headers],
        clock: Callable[[], float] = time.time,
        limit: float = LIMIT_SECONDS,
    ) -> None:
        self._outbox = outbox
        self._client = client
        base, mark, query = url.partition("?")
        self._target, self._query = Target(base), (mark + query).encode()
        self._form = form
        self._headers = headers
        self._clock = clock
        self._limit = limit
        self._timeout = Timeout(connect=limit, read=limit, total=limit, idle=limit, stream=limit)
        self._owner = secrets.token_hex(8)
        self._rejections = 0
        self._thread = ThreadPoolExecutor(1, "usage-events")
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._warn = ThrottledLog(log).warning

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End after the request in progress, and let another worker go on at once."""
        self._stopping.set()
        if self._task:
            await self._task
        with contextlib.suppress(StoreUnavailable):
            await self._in_thread(partial(self._outbox.release, self._owner))
        self._thread.shutdown(wait=False)

    async def run_once(self) -> None:
        """Make the events that are due, and deliver all that wait, unless another worker does or it is too early."""
        now = self._clock()
        status = await self._in_thread(partial(self._outbox.claim, self._owner, now))
        if status is None:
            return
        await self._in_thread(partial(self._outbox.make_events, status.installation, now))
        if now < status.retry_at <= now + MAX_RETRY_AFTER_SECONDS:
            return
        try:
            while not self._stopping.is_set() and (events := await self._waiting()):
                await self._deliver(events)
        except DeliveryFailed as failure:
            self._warn("events of usage could not be delivered; will retry", str(failure))
            await self._in_thread(partial(self._outbox.failed, str(failure), self._clock(), failure.retry_after))

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.run_once()
            except (StoreUnavailable, LostClaim) as error:
                log.info("events of usage are delivered later: %s", error)
            except Exception:
                log.exception("events of usage could not be delivered; will retry")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), TICK_SECONDS)

    async def _waiting(self) -> list[CloudEvent]:
        return await self._in_thread(partial(self._outbox.waiting, BATCH_SIZE[self._form]))

    async def _deliver(self, events: Sequence[CloudEvent]) -> None:
        """Deliver events, or find those that the receiver does not accept. Raises DeliveryFailed and LostClaim."""
        if await self._in_thread(partial(self._outbox.claim, self._owner, self._clock())) is None:
            raise LostClaim("another worker has taken over")
        response = await self._post(encode(events, self._form))
        if 200 <= response.status < 300:
            self._rejections = 0
            await self._forget(events)
        elif response.status not in REFUSALS:
            raise DeliveryFailed(
                f"the receiver responded with status {response.status}", _retry_after(response, self._clock())
            )
        elif (known := duplicates(response.body, len(events))) is not None:
            await self._forget([event for place, event in enumerate(events) if place in known])
            if rest := [event for place, event in enumerate(events) if place not in known]:
                await self._deliver(rest)
        elif len(events) > 1:
            middle = len(events) // 2
            await self._deliver(events[:middle])
            await self._deliver(events[middle:])
        elif response.status == CONFLICT:
            await self._forget(events)
        else:
            await self._reject(events[0], f"status {response.status}")

    async def _forget(self, events: Sequence[CloudEvent]) -> None:
        """Remove events that the receiver has."""
        await self._in_thread(partial(self._outbox.delivered, [event["id"] for event in events], self._clock()))

    async def _reject(self, event: CloudEvent, reason: str) -> None:
        if self._rejections >= MAX_REJECTIONS:
            self._rejections = 0
            raise DeliveryFailed(f"the receiver refuses all events: {reason}")
        self._rejections += 1
        self._warn("an event of usage was rejected, and is kept", f"{event['id']}: {reason}")
        await self._in_thread(partial(self._outbox.rejected, event["id"], reason))

    async def _post(self, content: bytes) -> Response:
        """Redirects are not followed. Raises DeliveryFailed."""
        try:
            fields = await asyncio.get_running_loop().run_in_executor(self._thread, self._headers)
        except ValueError as error:
            raise DeliveryFailed(f"METERING_HEADERS: {error}") from None
        call = Call("POST", self._query, [(b"content-type", CONTENT_TYPE[self._form]), *fields], _body(content))
        call.length = len(content)
        try:
            async with asyncio.timeout(self._limit):
                response = await self._client.send(self._target, call, self._timeout)
                try:
                    chunks, _ = await read_up_to(response.body, MAX_RESPONSE_BYTES)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise DeliveryFailed("the receiver did not respond in time") from None
        except GatewayError as error:
            reason = error.reason if isinstance(error, CallFailed) else error.code
            raise DeliveryFailed(f"the receiver cannot be reached: {reason}") from None
        return Response(response.status, response.headers, b"".join(chunks))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Raises StoreUnavailable while the database is."""
        return await in_thread(work, StoreUnavailable, self._thread)


def _retry_after(response: Response, now: float) -> float:
    return min(MAX_RETRY_AFTER_SECONDS, announced_wait(response.headers, now) or 0.0)


async def _body(content: bytes) -> AsyncIterator[bytes]:
    yield content
