"""The log shared by all workers and machines: one Redis stream, which every worker follows by itself.

    <prefix>:{events}        the stream; one record per entry, trimmed by count on append and by age at intervals
    <prefix>:{events}:once:  an event that is not to be sent twice
    <prefix>:{events}:life   identity and start (server's ms) of the stream; one recreated after data loss has another

With a stream, instead of pub/sub next to one, order, replay and catching up are a single mechanism: after a lost
connection a worker continues from its last id, and knows whether entries are missing.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from resilience.outage import StoreUnavailable, reading_shared_data
from resilience.redis import CALL_SECONDS, PROBE_SECONDS, RedisLink, Script
from resilience.redis_client import FAILURES
from routing.realtime.event_id import EventId, format_event_id, parse_event_id
from routing.realtime.history import MAX_EVENTS, RETENTION_SECONDS
from routing.realtime.log import LogFollower

log = logging.getLogger(__name__)

STREAM: Final = "{events}"
LIFE: Final = "{events}:life"
BLOCK_MS: Final = int(CALL_SECONDS * 500)
"""How long one read waits for new entries: well below the link's own time limit."""
READ_BATCH: Final = 500
ONCE_MS: Final = 86_400_000
"""How long an event is remembered that must not be sent twice."""
TRIM_EVERY: Final = 100
"""Reads, with or without entries, between two trims by age."""

# The stream is started again if another program has overwritten either key.
_LIFE: Final = """
local kinds = {redis.call('TYPE', KEYS[1]).ok, redis.call('TYPE', KEYS[2]).ok}
if (kinds[1] ~= 'stream' and kinds[1] ~= 'none') or (kinds[2] ~= 'string' and kinds[2] ~= 'none') then
  redis.call('DEL', KEYS[1], KEYS[2])
  kinds[1] = 'none'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local life = redis.call('GET', KEYS[2])
"""
_START: Final = """
if not life or #life > 64 or not string.match(life, '^%x+:%d+$') then
  life = string.format('%s:%.0f', ARGV[1], now)
  redis.call('SET', KEYS[2], life)
end
"""
# The first event begins the stream's life: one that was appended before it would never be delivered. Nor would one
# whose id is not beyond those of the stream that this one replaces, perhaps in the same millisecond.
_APPEND: Final = Script(
    _LIFE
    + _START
    + """
if KEYS[3] and not redis.call('SET', KEYS[3], '', 'NX', 'PX', ARGV[4]) then return '' end
local id = kinds[1] == 'stream' and '*' or string.format('%.0f-%d', now + 1, time[2] % 1000)
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], id, 'e', ARGV[3])
"""
)
_IDENTIFY: Final = Script(_LIFE + _START + "return {life, string.format('%.0f', now)}")
_TRIM: Final = Script(
    _LIFE + "return redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', math.max(0, now - ARGV[1])))"
)

T = TypeVar("T")


class RedisLog:
    """Reads bypass the link's limit of concurrent calls, as one is always blocked; their failures stay in this log."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._client: Any = link.client
        self._stream = link.key(STREAM)
        self._keys = [self._stream, link.key(LIFE)]
        self._life = b""
        self._last: EventId | None = None

    async def append(self, record: bytes, once: str | None = None) -> str:
        keys = list(self._keys)
        arguments: list[Any] = [secrets.token_hex(8), MAX_EVENTS, record]
        if once is not None:
            keys.append(self._link.key(f"{STREAM}:once:{once}"))
            arguments.append(ONCE_MS)
        event_id = await self._link.run(_APPEND, keys, arguments)
        return bytes(event_id).decode()

    async def follow(self, follower: LogFollower) -> None:
        while True:
            try:
                await self._call(self._rejoin(follower))
                while True:
                    for _ in range(TRIM_EVERY):
                        await self._read(follower)
                    await self._trim()
            except StoreUnavailable:
                pass
            except Exception:  # whatever a client raises in a failover: a worker that stops has no events until its end
                log.exception("the event log could not be read, and is read anew")
            await asyncio.sleep(PROBE_SECONDS)

    async def _call(self, work: Awaitable[T]) -> T:
        """Raise StoreUnavailable for connection and server errors."""
        try:
            return await work
        except FAILURES as error:
            raise StoreUnavailable(type(error).__name__) from error

    async def _rejoin(self, follower: LogFollower) -> None:
        """Start with the entries of the last minutes, or continue after the last id if no entry since is missing."""
        life, began, now = await self._identify()
        if self._last is not None and life == self._life and await self._has_all_after(self._last):
            return
        was_cut, self._life = self._last is not None, life
        floor = max(self._last or (0, 0), (began - 1, 0), (now - int(RETENTION_SECONDS * 1_000), 0))
        entries = await self._client.xrevrange(self._stream, "+", f"({format_event_id(floor)}", count=MAX_EVENTS)
        if len(entries) == MAX_EVENTS:
            floor = _entry_id(entries[-1])
        self._last = _entry_id(entries[0]) if entries else max(floor, (now - 1, 0))
        follower.on_start(floor, floor if entries else self._last)
        if was_cut:
            log.warning("the event log was interrupted; subscribers are notified of a gap")
            follower.on_gap()
        for entry in reversed(entries):
            self._deliver(follower, entry)

    async def _identify(self) -> tuple[bytes, int, int]:
        """The stream's identity, its start and the server's time (both ms)."""
        life, now = await _IDENTIFY(self._client, self._keys, (secrets.token_hex(8),))
        return life, int(life.rpartition(b":")[2]), int(now)

    async def _has_all_after(self, event_id: EventId) -> bool:
        """Whether no entry after `event_id` has been trimmed."""
        first = await self._client.xrange(self._stream, count=1)
        return not first or _entry_id(first[0]) <= event_id

    async def _read(self, follower: LogFollower) -> None:
        assert self._last is not None  # noqa: S101 - set by _rejoin
        last_id = format_event_id(self._last)
        found = await self._call(self._client.xread({self._stream: last_id}, count=READ_BATCH, block=BLOCK_MS))
        for entry in _entries(found):
            self._last = _entry_id(entry)
            self._deliver(follower, entry)

    def _deliver(self, follower: LogFollower, entry: Any) -> None:
        try:
            with reading_shared_data():
                follower.on_record(_entry_id(entry), bytes(entry[1][b"e"]))
        except StoreUnavailable:
            self._link.warn("an entry of the event log is malformed", "it is ignored")
        except Exception:  # one entry must not end the log
            log.exception("an entry of the event log could not be processed")

    async def _trim(self) -> None:
        await self._call(_TRIM(self._client, self._keys, (int(RETENTION_SECONDS * 1_000),)))


def _entries(found: Any) -> list[Any]:
    """The entries of the one stream: XREAD returns a list of pairs, or a mapping under RESP3."""
    streams = found.values() if isinstance(found, dict) else [entries for _, entries in found or ()]
    return [entry for entries in streams for entry in _flatten(entries)]


def _flatten(entries: Any) -> Any:
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _entry_id(entry: Any) -> EventId:
    return parse_event_id(bytes(entry[0]).decode()) or (0, 0)
