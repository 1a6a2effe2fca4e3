"""The log that all workers and machines share: one Redis stream, which each worker follows for itself.

    gw:{events}        the stream; each entry one record, trimmed by count as it grows and by age now and then
    gw:{events}:life   which stream this is, and since when (server's ms): one that lost its memory begins another

Following the stream, rather than pub/sub beside it, makes order, replay and catching up one mechanism: after a cut a
worker reads on from where it was, and knows whether anything is missing.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError

from resilience.outage import StoreUnavailable
from resilience.redis import CALL_SECONDS, PROBE_SECONDS, RedisLink
from routing.realtime.event_id import EventId, format_event_id, parse_event_id
from routing.realtime.history import MAX_EVENTS, RETENTION_SECONDS
from routing.realtime.log import LogFollower

log = logging.getLogger(__name__)

STREAM: Final = "gw:{events}"
LIFE: Final = "gw:{events}:life"
WAIT_MS: Final = int(CALL_SECONDS * 500)
"""How long one read waits for news: well below what the link takes for an absence."""
READ_BATCH: Final = 500
TRIM_EVERY: Final = 100
"""Reads without or with news between two trims by age."""

Answer = TypeVar("Answer")


class RedisLog:
    """Reads beside the link's own count of places, since it always waits; a failed read is this log's own affair."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._client: Any = link.client
        self._life = b""
        self._last: EventId | None = None

    async def append(self, record: bytes) -> str:
        add: Callable[[Any], Awaitable[Any]] = lambda client: client.xadd(  # noqa: E731 - a command, named for its line
            STREAM, {"e": record}, maxlen=MAX_EVENTS, approximate=True
        )
        return bytes(await self._link.call(add)).decode()

    async def follow(self, follower: LogFollower) -> None:
        while True:
            with suppress(StoreUnavailable):
                await self._whole(self._rejoin(follower))
                while True:
                    for _ in range(TRIM_EVERY):
                        await self._read(follower)
                    await self._trim()
            await asyncio.sleep(PROBE_SECONDS)

    async def _whole(self, work: Awaitable[Answer]) -> Answer:
        """Faults on the way to Redis, or of it, are an outage."""
        try:
            return await work
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(type(error).__name__) from error

    async def _rejoin(self, follower: LogFollower) -> None:
        """At the start: the last minutes. After a cut: on from where this worker was, if that is still there."""
        life, began, now = await self._identify()
        if self._last is not None and life == self._life and await self._holds(self._last):
            return
        was_cut, self._life = self._last is not None, life
        floor = max(self._last or (0, 0), (began - 1, 0), (now - int(RETENTION_SECONDS * 1_000), 0))
        entries = await self._client.xrevrange(STREAM, "+", f"({format_event_id(floor)}", count=MAX_EVENTS)
        if len(entries) == MAX_EVENTS:
            floor = _place(entries[-1])
        self._last = _place(entries[0]) if entries else max(floor, (now - 1, 0))
        follower.begin(floor, floor if entries else self._last)
        if was_cut:
            log.warning("the log of events was cut; subscribers are told of a gap")
            follower.lost()
        for entry in reversed(entries):
            _tell(follower, entry)

    async def _identify(self) -> tuple[bytes, int, int]:
        """The stream's name, when it began, and the server's time."""
        seconds, micros = await self._client.time()
        now = int(seconds) * 1_000 + int(micros) // 1_000
        await self._client.set(LIFE, f"{secrets.token_hex(8)}:{now}", nx=True)
        life = bytes(await self._client.get(LIFE))
        return life, int(life.rpartition(b":")[2]), now

    async def _holds(self, place: EventId) -> bool:
        """Whether nothing after `place` was trimmed away."""
        first = await self._client.xrange(STREAM, count=1)
        return not first or _place(first[0]) <= place

    async def _read(self, follower: LogFollower) -> None:
        assert self._last is not None  # noqa: S101 - set by _rejoin
        found = await self._whole(
            self._client.xread({STREAM: format_event_id(self._last)}, count=READ_BATCH, block=WAIT_MS)
        )
        for entry in _entries(found):
            self._last = _place(entry)
            _tell(follower, entry)

    async def _trim(self) -> None:
        seconds, _ = await self._whole(self._client.time())
        oldest = (int(seconds) - int(RETENTION_SECONDS)) * 1_000
        await self._whole(self._client.xtrim(STREAM, minid=oldest, approximate=True))


def _entries(found: Any) -> list[Any]:
    """The one stream's entries: a list of pairs, or a mapping where the connection speaks RESP3."""
    streams = found.values() if isinstance(found, dict) else [entries for _, entries in found or ()]
    return [entry for entries in streams for entry in _flat(entries)]


def _flat(entries: Any) -> Any:
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _place(entry: Any) -> EventId:
    return parse_event_id(bytes(entry[0]).decode()) or (0, 0)


def _tell(follower: LogFollower, entry: Any) -> None:
    try:
        follower.on_record(_place(entry), bytes(entry[1][b"e"]))
    except Exception:  # what is no event of ours must not end the log
        log.exception("an entry of the log of events was not understood")
