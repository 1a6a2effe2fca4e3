"""Requests with an Idempotency-Key: the call is made once, and completes even if its client disconnects."""

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
from routing.http import IDEMPOTENCY_KEY, Response, first
from routing.idempotency.record import (
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
from routing.messages.bodies import read_up_to
from routing.messages.credentials import CREDENTIALS
from routing.messages.outcome import RETRYABLE
from routing.messages.request_body import timed
from routing.messages.response_body import Relay
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.router.gateway_cookies import GatewayCookies
from routing.router.hosts import domain_of

log = logging.getLogger(__name__)

LEASE_GRACE_SECONDS: Final = 10.0
"""How long after the call's time limit the key of a worker that died is released."""
SAVE_SECONDS: Final = 30.0
"""A response whose body takes longer than this is passed on without being saved."""
MAX_IDLE_SECONDS: Final = 3_600.0
"""The longest `timeout.idle` that a key's lease outlasts."""
RETRY_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 5.0

Fetch = Callable[[Exchange], Awaitable[Response]]


class Idempotency:
    """Keys are scoped to a caller. Anonymous requests have none: their keys could be guessed by others."""

    def __init__(
        self, store: Store, *, cookies: GatewayCookies | None = None, emit: EventSink = lambda _event: None
    ) -> None:
        self._store = store
        self._cookies = cookies or GatewayCookies()
        self._emit = emit
        self._tasks = TaskSet()

    def applies_to(self, exchange: Exchange) -> bool:
        """Whether the request has a key and its route honours it."""
        request = exchange.request
        return (
            exchange.match.policy.idempotency
            and request.method in IDEMPOTENCY_METHODS
            and exchange.caller is not None
            and first(request.headers, IDEMPOTENCY_KEY) is not None
        )

    async def run_once(self, exchange: Exchange, fetch: Fetch) -> Response:
        """Return the response of `fetch` if this is the key's first request, otherwise the saved one.

        Raises IdempotencyConflict, IdempotencyMismatch, IdempotencyUnavailable, or what `fetch` raises. Without the
        store the request is rejected: a duplicate write cannot be undone, while a retry costs a second.
        """
        name, record = await self._identify(exchange)
        try:
            policy = exchange.match.policy
            body_seconds = SAVE_SECONDS + min(policy.timeout.idle, MAX_IDLE_SECONDS)
            lease = policy.head_seconds + body_seconds + LEASE_GRACE_SECONDS
            found = await self._store.begin(name, record, lease)
        except StoreUnavailable as error:
            raise IdempotencyUnavailable(
                "whether this request was made before cannot be checked at the moment",
                service=exchange.service,
                retry_after=RETRY_SECONDS,
            ) from error
        if found is not None:
            return self._replay(exchange, decide_replay(record, found), found.response)
        return await self._run_detached(exchange, self._execute(exchange, name, record, fetch))

    async def close(self) -> None:
        """Wait for calls in flight whose clients have disconnected, up to a time limit."""
        await self._tasks.wait_at_most(CLOSE_SECONDS)

    async def _identify(self, exchange: Exchange) -> tuple[str, IdempotencyRecord]:
        """The name of the key's record and a new record. Reads the whole request body."""
        request, caller = exchange.request, exchange.caller
        key = idempotency_key(request.headers)
        body = await _read_body(exchange)
        request.body = None if request.body is None else _body_stream(body)
        parts = [request.method.encode(), exchange.match.path, request.query, self._credentials(exchange), body]
        if _has_hosts(exchange):
            parts.append(domain_of(exchange.resolution.host).encode())
        name = record_name(exchange.service, caller.id if caller else "", key or b"")
        return name, IdempotencyRecord(secrets.token_hex(16), fingerprint(parts))

    def _credentials(self, exchange: Exchange) -> bytes:
        """Those that the backend gets: behind one key, each may be another user's."""
        cache = exchange.match.policy.cache
        forwards = exchange.match.policy.forward_authorization
        named = {name.encode() for name in (cache.credentials if cache else None) or ()}
        own = self._cookies.at(exchange.prefix, exchange.request.fields.get(b"host", b""))
        lines = []
        for name, value in forwarding.end_to_end(exchange.request):
            if name == b"cookie":
                lines.append(own.strip(value))
            elif name in named or name in CREDENTIALS or (forwards and name == b"authorization"):
                lines.append(name + b":" + value)
        return b"\n".join(lines)

    def _replay(self, exchange: Exchange, decision: ReplayDecision, saved: SavedResponse | None) -> Response:
        service = exchange.service
        if decision is ReplayDecision.MISMATCH:
            raise IdempotencyMismatch("this Idempotency-Key was used for another request", service=service)
        if saved is None:
            retry_after = RETRY_SECONDS if decision is ReplayDecision.IN_PROGRESS else None
            raise IdempotencyConflict(decision.value, service=service, retry_after=retry_after)
        self._emit(BackendEvent(kind=BackendEventKind.REPLAYED, service=service))
        return Response(saved.status, [*saved.headers, (b"idempotency-replayed", b"true")], saved.body)

    async def _run_detached(self, exchange: Exchange, work: Coroutine[Any, Any, Response]) -> Response:
        """Await `work` in its own task, which completes even if the client disconnects: a retry finds the response."""
        request = exchange.request
        if request.watch_disconnect:
            request.watch_disconnect()
            request.watch_disconnect = None  # called in the other task, it would cancel that one
        task = self._tasks.create(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._tasks.create(_discard(task))
            raise

    async def _execute(self, exchange: Exchange, name: str, record: IdempotencyRecord, fetch: Fetch) -> Response:
        """Make the call and save its response. A retryable status, or a stand-in after a failure, releases the key."""
        try:
            response = await fetch(exchange)
            is_retryable = response.status in RETRYABLE_STATUSES or exchange.call.outcome in RETRYABLE
            if is_retryable or exchange.error_code:
                await self._release(name, record)
                return response
            saved = await _save(response)
        except BaseException:
            await self._release(name, record)
            raise
        await self._finish(name, msgspec.structs.replace(record, done=True, response=saved))
        return response

    async def _finish(self, name: str, record: IdempotencyRecord) -> None:
        try:
            await self._store.finish(name, record, RETENTION_SECONDS)
        except StoreUnavailable:
            log.warning("a response could not be saved for its Idempotency-Key: the store is unavailable")

    async def _release(self, name: str, record: IdempotencyRecord) -> None:
        with contextlib.suppress(StoreUnavailable):  # then the record expires
            await self._store.release(name, record.holder)


class _PrefixedSource:
    """A relay's source: chunks already read from another relay, then its rest."""

    def __init__(self, chunks: list[bytes], rest: Relay) -> None:
        self._rest = rest
        self.body = self._all(chunks)

    async def _all(self, chunks: list[bytes]) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        async for chunk in self._rest:
            yield chunk

    async def aclose(self) -> None:
        await self._rest.aclose()


async def _save(response: Response) -> SavedResponse | None:
    """Read the body and return the response to save; None for an event stream, or a large or slow body, which is
    streamed.
    """
    if (first(response.headers, b"content-type") or b"").startswith(b"text/event-stream"):
        return None
    if isinstance(response.body, bytes):
        return saved_response(response.status, response.headers, response.body)
    relay = response.body
    assert isinstance(relay, Relay)  # noqa: S101 - a body of step 8 is bytes or a relay
    deadline = asyncio.get_running_loop().time() + SAVE_SECONDS
    chunks, is_complete = await read_up_to(relay, MAX_SAVED_BYTES, deadline)
    if not is_complete:
        response.body = Relay(_PrefixedSource(chunks, relay), None, None, None, relay.client_timeout)
        return None
    response.body = b"".join(chunks)
    return saved_response(response.status, response.headers, response.body)


def _has_hosts(exchange: Exchange) -> bool:
    """Whether the service may be another one at each host, to which the same write is another write."""
    return exchange.match.policy.preserve_host or len(exchange.match.service.hosts) > 1


async def _read_body(exchange: Exchange) -> bytes:
    if exchange.request.body is None:
        return b""
    timeout = exchange.match.policy.timeout
    body = timed(exchange.request.body, idle=timeout.idle, total=timeout.total)
    chunks, is_complete = await read_up_to(body, MAX_SAVED_BYTES)
    if not is_complete:
        detail = f"with an Idempotency-Key, a body may have at most {MAX_SAVED_BYTES} bytes"
        raise BodyTooLarge(detail, service=exchange.service)
    return b"".join(chunks)


async def _body_stream(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


async def _discard(task: asyncio.Task[Response]) -> None:
    """Close the response of a call whose client has disconnected."""
    with contextlib.suppress(GatewayError):
        response = await task
        if isinstance(response.body, Relay):
            await response.body.aclose()
