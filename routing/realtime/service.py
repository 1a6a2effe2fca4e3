"""The realtime part of one worker: what happened, into the log; what the log says, out to this worker's subscribers."""

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
from routing.authentication.authenticator import Authenticator, Credential
from routing.caller import Caller
from routing.messages.validation import client_prefix
from routing.observability.events import Observer
from routing.realtime import topics
from routing.realtime.event import EventRecord, decode_event, encode_record
from routing.realtime.event_id import EventId
from routing.realtime.history import History
from routing.realtime.hub import ConnectionLimitExceeded, Hub
from routing.realtime.limits import Limits
from routing.realtime.log import Log
from routing.realtime.messages import encode_message
from routing.realtime.session import IsCached, Session
from routing.router.live import LiveConfiguration
from routing.router.table import RouteTable

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 5.0
"""After a restart each client waits up to this long, at random, so that they do not come back as one."""
MAX_PENDING_EVENTS: Final = 1_000
"""The gateway's own events that may wait for the log. Beyond, the oldest are dropped."""


async def _nothing(service: str, key: str) -> bool:  # noqa: ARG001 - of a gateway without a cache
    return False


class Realtime(Observer):
    """An Observer, a log's Reader, and where sockets and streams come to subscribe."""

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
        holds: IsCached = _nothing,
    ) -> None:
        self.hub = Hub(limits, History())
        self.live = live
        self.origins = origins
        self.closing = False
        self._log = log_
        self._authenticator = authenticator
        self._limits = limits
        self._clock = clock
        self.timer = timer
        self._holds = holds
        self._sessions: set[Session] = set()
        self._emptied = asyncio.Event()
        self._reviewed: tuple[object, object] = (None, None)
        self._pending: asyncio.Queue[EventRecord] = asyncio.Queue(MAX_PENDING_EVENTS)
        self._tasks = TaskSet()

    def start(self) -> None:
        """On the running loop."""
        for work in (self._log.follow(self), self._publish_pending(), self._keep()):
            self._tasks.create(work)

    def begin_shutdown(self) -> None:
        """Tell everyone to come back, a little later each."""
        self.closing = True
        for session in tuple(self._sessions):
            session.subscriber.send(encode_message("restart", retry_in=round(random.random() * RETRY_SECONDS, 2)))  # noqa: S311
            session.subscriber.close(1012, "the gateway restarts")

    async def close(self) -> None:
        self.begin_shutdown()
        if self._sessions:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.close_timeout):
                    await self._emptied.wait()
        for session in tuple(self._sessions):
            session.subscriber.abort()
        await self._tasks.cancel_and_wait()

    def open(self, abort: Callable[[], None], client: str, caller: Caller | None, held: Credential | None) -> Session:
        """A new connection, from this address. Raises TooMany."""
        if self.closing:
            raise ConnectionLimitExceeded("the gateway restarts")
        session = Session(
            self.hub.join(abort, client_prefix(client), caller),
            held,
            hub=self.hub,
            live=self.live,
            authenticator=self._authenticator,
            clock=self._clock,
            timer=self.timer,
            holds=self._holds,
        )
        self._sessions.add(session)
        return session

    def leave(self, session: Session) -> None:
        self._sessions.discard(session)
        self.hub.leave(session.subscriber)
        if self.closing and not self._sessions:
            self._emptied.set()

    async def publish(self, topic: str, kind: str, data: object) -> str:
        """Tell the subscribers of `topic`, on every worker: the event's id. `data` is what JSON can hold.

        Raises StoreUnavailable when nobody could be told.
        """
        raw = data if isinstance(data, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(data))
        return await self._log.append(
            encode_record(EventRecord(topics.publication_key(topic), kind, self._clock(), raw))
        )

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:  # noqa: ARG002 - reasons are for staff
        """Called by the one worker that made the change."""
        data = {"service": service, "before": str(before), "after": str(after)}
        self._tell(topics.publication_key(f"service:{service}"), "circuit", data)

    def invalidated(self, service: str, tag: str) -> None:
        """Called by the one worker that took entries back."""
        if service in self.live.table.services:
            self._tell(topics.invalidation_key(service, tag), "invalidated", {"service": service, "tag": tag})

    def disconnect_caller(self, caller: str) -> None:
        """End a caller's connections at once, without waiting for the configuration to say so."""
        for session in tuple(self._sessions):
            known = session.subscriber.caller
            if known is not None and known.id == caller:
                session.subscriber.close(4401, "the credential was revoked")

    def begin(self, floor: EventId, last: EventId) -> None:
        self.hub.history.begin(floor, last)

    def on_record(self, at: EventId, record: bytes) -> None:
        self.hub.deliver(decode_event(at, record))

    def lost(self) -> None:
        self.hub.lost()

    def tick(self) -> None:
        """Once a second: sessions at their end, signs of life, and what a new configuration has changed."""
        self.hub.history.expire(self._clock())
        now, beat = self.timer(), self.hub.beat()
        table, keys = self.live.table, self.live.keys
        is_new, self._reviewed = self._reviewed != _identity(table, keys), _identity(table, keys)
        for session in tuple(self._sessions):
            if is_new:
                session.check()
            self._look_after(session, now, beat)

    def _look_after(self, session: Session, now: float, beat: str) -> None:
        subscriber, limits = session.subscriber, self._limits
        caller = subscriber.caller
        if subscriber.closing:
            self._end(session, now)
        elif subscriber.is_stalled(now - limits.stall_timeout):
            subscriber.close_as_slow()
        elif caller is None and now - session.began_at > limits.authentication_timeout:
            subscriber.close(4401, "not authenticated in time")
        elif caller is not None and caller.expires is not None and caller.expires <= self._clock():
            subscriber.close(4401, "the credential has expired")
        elif not subscriber.topics and now - session.last_message_at > limits.idle_timeout:
            subscriber.close(4408, "idle")
        elif now - session.last_heartbeat_at >= limits.heartbeat_interval and not subscriber.is_behind:
            session.last_heartbeat_at = now
            subscriber.send(beat)

    def _end(self, session: Session, now: float) -> None:
        """One that was told to go and does not take it is cut. A slow reader first has what is on its way to read."""
        if session.closing_since is None:
            session.closing_since = now
        patience = self._limits.stall_timeout if session.subscriber.is_slow else self._limits.close_timeout
        if now - session.closing_since > patience:
            session.subscriber.abort()

    def _tell(self, key: str, kind: str, data: object) -> None:
        if self._pending.full():
            self._pending.get_nowait()
        self._pending.put_nowait(EventRecord(key, kind, self._clock(), msgspec.Raw(msgspec.json.encode(data))))

    async def _publish_pending(self) -> None:
        """The gateway's own events, one after the other: they keep their order."""
        while True:
            record = await self._pending.get()
            try:
                await self._log.append(encode_record(record))
            except StoreUnavailable:
                log.warning("nobody could be told of %s: the log of events is away", record.type)
                self.hub.lost()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self.tick()
            except Exception:
                log.exception("looking after connections failed")


def _identity(table: RouteTable, keys: object) -> tuple[object, object]:
    return id(table), id(keys)
