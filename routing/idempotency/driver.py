"""A write with a key, on its way: found done, found under way, or made once, whether or not its client waits."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec

from resilience.outage import StoreUnavailable
from resilience.task_set import TaskSet
from routing.errors import (
    BodyTooLarge,
    GatewayError,
    IdempotencyConflict,
    IdempotencyMismatch,
    IdempotencyUnavailable,
)
from routing.exchange import Exchange
from routing.http import Response, first
from routing.idempotency.record import (
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_METHODS,
    MAX_SAVED_BYTES,
    RETENTION_SECONDS,
    RETRYABLE_STATUSES,
    IdempotencyRecord,
    ReplayDecision,
    SavedResponse,
    decide_replay,
    fingerprint,
    idempotency_key,
    record_name,
    saved_response,
)
from routing.idempotency.store import Store
from routing.messages import forwarding
from routing.messages.response_body import Relay
from routing.observability.events import BackendEvent, BackendEventKind, EventSink

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 10.0
"""How long after its call must be over a key is taken back from a worker that died."""
RETRY_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 5.0

Fetch = Callable[[Exchange], Awaitable[Response]]


class Idempotency:
    """Keys are a caller's own. One without a credential has none: a stranger's key could be guessed."""

    def __init__(
        self, store: Store, *, own_cookies: frozenset[bytes] = frozenset(), emit: EventSink = lambda _event: None
    ) -> None:
        self._store = store
        self._own_cookies = own_cookies
        self._emit = emit
        self._tasks = TaskSet()

    def applies_to(self, exchange: Exchange) -> bool:
        """Whether this request is to be done once."""
        request = exchange.request
        return (
            exchange.match.policy.idempotency
            and request.method in IDEMPOTENCY_METHODS
            and exchange.caller is not None
            and first(request.headers, IDEMPOTENCY_KEY) is not None
        )

    async def run_once(self, exchange: Exchange, fetch: Fetch) -> Response:
        """The first answer to this request's key, from `fetch` if this is the first.

        Raises IdempotencyConflict, IdempotencyMismatch, IdempotencyUnavailable, or what `fetch` raises. Where Redis is
        away the write is refused: to do it twice cannot be taken back, to ask again costs a second.
        """
        name, record = await self._identify(exchange)
        try:
            found = await self._store.begin(name, record, exchange.match.policy.timeout.total + GRACE_SECONDS)
        except StoreUnavailable as error:
            raise IdempotencyUnavailable(
                "it cannot be known whether this was done before", service=exchange.service, retry_after=RETRY_SECONDS
            ) from error
        if found is not None:
            return self._replay(exchange, decide_replay(record, found), found.response)
        return await self._run_detached(exchange, self._execute(exchange, name, record, fetch))

    async def close(self) -> None:
        """Wait a little for the writes whose clients did not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._tasks.wait()

    async def _identify(self, exchange: Exchange) -> tuple[str, IdempotencyRecord]:
        """The key's name and this request's record; its body is read to the end for it."""
        request, caller = exchange.request, exchange.caller
        key = idempotency_key(request.headers)
        body = await _read_body(exchange)
        request.body = None if request.body is None else _body_stream(body)
        cookies = (value for field, value in request.headers if field == b"cookie")
        said = b"\n".join(forwarding.strip_cookies(value, self._own_cookies) for value in cookies)
        print_of = (request.method.encode(), exchange.match.path, request.query, said, body)
        name = record_name(exchange.service, caller.id if caller else "", key or b"")
        return name, IdempotencyRecord(secrets.token_hex(16), fingerprint(print_of))

    def _replay(self, exchange: Exchange, verdict: ReplayDecision, answer: SavedResponse | None) -> Response:
        service = exchange.service
        if verdict is ReplayDecision.MISMATCH:
            raise IdempotencyMismatch("this Idempotency-Key was used for another request", service=service)
        if answer is None:
            retry_after = RETRY_SECONDS if verdict is ReplayDecision.IN_PROGRESS else None
            raise IdempotencyConflict(verdict.value, service=service, retry_after=retry_after)
        self._emit(BackendEvent(kind=BackendEventKind.REPLAYED, service=service))
        return Response(answer.status, [*answer.headers, (b"idempotency-replayed", b"true")], answer.body)

    async def _run_detached(self, exchange: Exchange, work: Coroutine[Any, Any, Response]) -> Response:
        """Await `work`, which goes on when the client does not wait: its repeat finds the answer."""
        request = exchange.request
        if request.watch_disconnect:
            request.watch_disconnect()
            request.watch_disconnect = None  # it watches over the task that calls it, and that is this one
        task = self._tasks.create(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._tasks.create(_discard(task))
            raise

    async def _execute(self, exchange: Exchange, name: str, record: IdempotencyRecord, fetch: Fetch) -> Response:
        """The call. What says to come again is not kept, nor what stands in for an answer: its key may try again."""
        try:
            response = await fetch(exchange)
            if response.status in RETRYABLE_STATUSES or exchange.error_code:
                await self._release(name, record)
                return response
            answer = await _save(response)
        except BaseException:
            await self._release(name, record)
            raise
        await self._finish(name, msgspec.structs.replace(record, done=True, response=answer))
        return response

    async def _finish(self, name: str, record: IdempotencyRecord) -> None:
        try:
            await self._store.finish(name, record, RETENTION_SECONDS)
        except StoreUnavailable:
            log.warning("an answer could not be kept for its Idempotency-Key: the store is away")

    async def _release(self, name: str, record: IdempotencyRecord) -> None:
        with contextlib.suppress(StoreUnavailable):  # then it is released when its time is over
            await self._store.release(name, record.holder)


class _PrefixedSource:
    """A relay's source: the pieces already read of another, and then the rest."""

    def __init__(self, pieces: list[bytes], rest: Relay) -> None:
        self._rest = rest
        self.body = self._all(pieces)

    async def _all(self, pieces: list[bytes]) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        async for piece in self._rest:
            yield piece

    async def aclose(self) -> None:
        await self._rest.aclose()


async def _save(response: Response) -> SavedResponse | None:
    """The answer to keep, its body read to the end; None for an endless or a large one, which is passed on."""
    if (first(response.headers, b"content-type") or b"").startswith(b"text/event-stream"):
        return None
    if isinstance(response.body, bytes):
        return saved_response(response.status, response.headers, response.body)
    relay, pieces, size = response.body, list[bytes](), 0
    assert isinstance(relay, Relay)  # noqa: S101 - what step 8 gives is whole or a relay
    async for piece in relay:
        pieces.append(piece)
        size += len(piece)
        if size > MAX_SAVED_BYTES:
            response.body = Relay(_PrefixedSource(pieces, relay), None, None, None)
            return None
    response.body = b"".join(pieces)
    return saved_response(response.status, response.headers, response.body)


async def _read_body(exchange: Exchange) -> bytes:
    pieces, size = [], 0
    if exchange.request.body is not None:
        async for piece in exchange.request.body:
            pieces.append(piece)
            size += len(piece)
            if size > MAX_SAVED_BYTES:
                detail = f"with an Idempotency-Key a body may have {MAX_SAVED_BYTES} bytes"
                raise BodyTooLarge(detail, service=exchange.service)
    return b"".join(pieces)


async def _body_stream(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


async def _discard(task: asyncio.Task[Response]) -> None:
    """An answer that nobody waits for any more."""
    with contextlib.suppress(GatewayError):
        response = await task
        if isinstance(response.body, Relay):
            await response.body.aclose()
