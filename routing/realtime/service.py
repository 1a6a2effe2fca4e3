"""One worker's realtime service: publishes events to the log, and delivers the log's events to its subscribers."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Final

import msgspec

from resilience.outage import StoreUnavailable
from resilience.task_set import TaskSet
from routing.authentication.authenticator import Authenticator
from routing.authentication.proof import Proof
from routing.authentication.quota_owner import owner_of
from routing.caller import Caller
from routing.http import Request
from routing.messages.validation import client_prefix
from routing.observability.events import Observer, QuotaEvent
from routing.realtime import topics
from routing.realtime.close_codes import CloseCode
from routing.realtime.event import EventRecord, decode_event, encode_record
from routing.realtime.event_id import EventId
from routing.realtime.history import History
from routing.realtime.hub import ConnectionLimitExceeded, Hub
from routing.realtime.limits import Limits
from routing.realtime.log import Log
from routing.realtime.messages import encode_message
from routing.realtime.session import IsCached, Session
from routing.router.live import LiveConfiguration
from routing.router.table import Match, RouteTable
from routing.steps.rechecks import Rechecks

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
RECONNECT_SPREAD_SECONDS: Final = 5.0
"""Before a restart each client is given a random delay up to this, so that they do not all reconnect at once."""
MAX_PENDING_EVENTS: Final = 1_000
"""The gateway's own events waiting to be appended to the log. The oldest are dropped beyond this."""


async def _never_cached(match: Match, caller: Caller, request: Request) -> bool:  # noqa: ARG001 - without a cache
    return False


class Realtime(Observer):
    """Also an Observer of the gateway, and the follower of the log."""

    def __init__(
        self,
        log_: Log,
        live: LiveConfiguration,
        authenticator: Authenticator,
        *,
        origins: tuple[str, ...] = (),
        limits: Limits = Limits(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        is_cached: IsCached = _never_cached,
    ) -> None:
        self.hub = Hub(limits, History())
        self.live = live
        self.origins = origins
        self.is_closing = False
        self._log = log_
        self._authenticator = authenticator
        self._rechecks = Rechecks(live, authenticator)
        self._limits = limits
        self._clock = clock
        self.timer = timer
        self._is_cached = is_cached
        self._sessions: set[Session] = set()
        self._all_left = asyncio.Event()
        self._checked_configuration: tuple[int, int] | None = None
        self._pending: asyncio.Queue[EventRecord] = asyncio.Queue(MAX_PENDING_EVENTS)
        self._tasks = TaskSet()

    def start(self) -> None:
        """Start the background tasks on the running event loop."""
        for work in (self._log.follow(self), self._publish_pending(), self._run_ticks()):
            self._tasks.create(work)

    def begin_shutdown(self) -> None:
        """Ask every client to reconnect after a random delay, and accept no new connections."""
        self.is_closing = True
        for session in tuple(self._sessions):
            delay = round(random.random() * RECONNECT_SPREAD_SECONDS, 2)  # noqa: S311 - no secret
            session.subscriber.send(encode_message("restart", retry_in=delay))
            session.subscriber.close(CloseCode.SERVICE_RESTART, "the gateway is restarting")

    async def close(self) -> None:
        """Close all connections, aborting those that are still open after the close timeout."""
        self.begin_shutdown()
        if self._sessions:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.close_timeout):
                    await self._all_left.wait()
        for session in tuple(self._sessions):
            session.subscriber.abort()
        await self._tasks.cancel_and_wait()

    def open(
        self, abort: Callable[[], None], handshake: Request, caller: Caller | None, proof: Proof | None
    ) -> Session:
        """Open a session for a connection that began with `handshake`. `proof` has identified the caller.

        Raises ConnectionLimitExceeded.
        """
        if self.is_closing:
            raise ConnectionLimitExceeded("the gateway is restarting")
        session = Session(
            self.hub.join(abort, client_prefix(handshake.client), caller),
            handshake,
            proof,
            hub=self.hub,
            live=self.live,
            authenticator=self._authenticator,
            rechecks=self._rechecks,
            clock=self._clock,
            timer=self.timer,
            is_cached=self._is_cached,
        )
        self._sessions.add(session)
        return session

    def leave(self, session: Session) -> None:
        """Remove a session whose connection has ended. Idempotent."""
        self._sessions.discard(session)
        self.hub.leave(session.subscriber)
        if self.is_closing and not self._sessions:
            self._all_left.set()

    async def publish(self, topic: str, kind: str, data: object, once: str | None = None) -> str:
        """Send an event to the subscribers of `topic` on every worker, and return its id. `data` is any JSON value.

        Of several events with the same `once`, within a day, only the first is sent; the id is then empty.
        Raises StoreUnavailable; then nobody receives it.
        """
        raw = data if isinstance(data, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(data))
        record = EventRecord(topics.publication_key(topic, self.live.table), kind, self._clock(), raw)
        encoded = encode_record(record)
        return await (self._log.append(encoded) if once is None else self._log.append(encoded, once))

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:  # noqa: ARG002 - not for clients
        """Called only on the worker that made the change."""
        data = {"service": service, "before": str(before), "after": str(after)}
        self._enqueue(topics.publication_key(f"service:{service}", self.live.table), "circuit", data)

    def hold_off_changed(self, service: str, until: float | None, calls: str) -> None:  # noqa: ARG002 - not for clients
        """Called only on the worker that found it out. `until` is Unix seconds, null in the event that it has ended."""
        data = {"service": service, "state": "end" if until is None else "begin", "until": until}
        self._enqueue(topics.publication_key(f"service:{service}", self.live.table), "holdoff", data)

    def key_expires(self, prefix: str, days: int, expires: float) -> None:
        """An API key will expire within so many days, at `expires` (Unix time): its own connections are notified."""
        data = {"prefix": prefix, "days": days, "expires": expires}
        for topic in (f"caller:key:{prefix}", topics.GATEWAY_KEYS):
            self._enqueue(topics.publication_key(topic, self.live.table), "key_expires", data)

    def quota_reached(self, event: QuotaEvent) -> None:
        """Called once in the cluster when 80 % and 100 % of a quota are used."""
        usage = {"percent": event.percent, "used": event.used, "limit": event.limit, "resets": event.ends}
        data = owner_of(event.quota, self.live.keys)._asdict() | usage
        self._enqueue(topics.publication_key(topics.GATEWAY_QUOTAS, self.live.table), "quota", data)

    def invalidated(self, service: str, tag: str) -> None:
        """Called only on the worker that invalidated the cache entries."""
        if service in self.live.table.services:
            self._enqueue(topics.invalidation_key(service, tag), "invalidated", {"service": service, "tag": tag})

    def disconnect_caller(self, caller_id: str) -> None:
        """Close a caller's connections now, without waiting for the configuration to be reloaded."""
        for session in tuple(self._sessions):
            caller = session.subscriber.caller
            if caller is not None and caller.id == caller_id:
                session.subscriber.close(CloseCode.UNAUTHENTICATED, "the credential was revoked")

    def on_start(self, floor: EventId, last: EventId) -> None:
        self.hub.history.reset(floor, last)

    def on_record(self, event_id: EventId, record: bytes) -> None:
        self.hub.deliver(decode_event(event_id, record))

    def on_gap(self) -> None:
        self.hub.announce_gap()

    def tick(self) -> None:
        """Once a second: expire history, apply a new configuration, enforce timeouts and send heartbeats."""
        self.hub.history.expire(self._clock())
        now, heartbeat = self.timer(), self.hub.heartbeat()
        configuration = _identity(self.live.table, self.live.keys)
        is_new, self._checked_configuration = self._checked_configuration != configuration, configuration
        for session in tuple(self._sessions):
            if is_new:
                session.recheck()
            self._check_session(session, now, heartbeat)

    def _check_session(self, session: Session, now: float, heartbeat: str) -> None:
        subscriber, limits = session.subscriber, self._limits
        caller = subscriber.caller
        if subscriber.closing:
            self._abort_if_overdue(session, now)
        elif subscriber.is_stalled(now - limits.stall_timeout):
            subscriber.close_as_slow()
        elif caller is None and now - session.began_at > limits.authentication_timeout:
            subscriber.close(CloseCode.UNAUTHENTICATED, "not authenticated in time")
        elif caller is not None and caller.expires is not None and caller.expires <= self._clock():
            subscriber.close(CloseCode.UNAUTHENTICATED, "the credential has expired")
        elif not subscriber.topics and now - session.last_message_at > limits.idle_timeout:
            subscriber.close(CloseCode.TIMEOUT, "idle")
        elif now - session.last_heartbeat_at >= limits.heartbeat_interval and not subscriber.is_behind:
            session.last_heartbeat_at = now
            subscriber.send(heartbeat)

    def _abort_if_overdue(self, session: Session, now: float) -> None:
        """Abort a connection that does not finish closing. A slow client has more time to read what is in flight."""
        if session.closing_since is None:
            session.closing_since = now
        timeout = self._limits.stall_timeout if session.subscriber.is_slow else self._limits.close_timeout
        if now - session.closing_since > timeout:
            session.subscriber.abort()

    def _enqueue(self, key: str, kind: str, data: object) -> None:
        if self._pending.full():
            self._pending.get_nowait()
        self._pending.put_nowait(EventRecord(key, kind, self._clock(), msgspec.Raw(msgspec.json.encode(data))))

    async def _publish_pending(self) -> None:
        """Append the gateway's own events one after the other, which keeps their order."""
        while True:
            record = await self._pending.get()
            try:
                await self._log.append(encode_record(record))
            except StoreUnavailable:
                log.warning("an event of type %s was lost: the event log is unavailable", record.type)
                self.hub.announce_gap()

    async def _run_ticks(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self.tick()
            except Exception:
                log.exception("the periodic check of connections failed")


def _identity(table: RouteTable, keys: object) -> tuple[int, int]:
    return id(table), id(keys)
