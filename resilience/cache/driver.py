"""The HTTP cache as the request's way uses it: the rules of RFC 9111 over a store, and what they came to."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from resilience.cache import fields, rules
from resilience.cache.entry import Entry
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.rules import Answered, Asked, Fresh, Miss, Skip, Stale, Storable
from resilience.cache.store import UNFENCED, NearStore, Usage

BODY_BYTES: Final = 8 * 1_024 * 1_024
"""A body above this is not stored."""


@dataclass(slots=True)
class Tally:
    """One service's look-ups in this worker since they were last reset."""

    hits: int = 0
    misses: int = 0


class Recorder:
    """Keeps a copy of a body while it streams past, and gives up on one above the limit."""

    __slots__ = ("_chunks", "_left")

    def __init__(self, limit: int = BODY_BYTES) -> None:
        self._chunks: list[bytes] = []
        self._left = limit

    def add(self, chunk: bytes) -> None:
        if self._left >= 0:
            self._left -= len(chunk)
            self._chunks.append(chunk)
            if self._left < 0:
                self._chunks.clear()

    def body(self) -> bytes | None:
        """The whole body; None when it was above the limit. Only worth asking once the stream has ended well."""
        return None if self._left < 0 else b"".join(self._chunks)


class Cache:
    """`now` is Unix seconds. Nothing here fails for want of Redis but `invalidate` and `usage`."""

    def __init__(self, store: NearStore) -> None:
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._store = store

    def peek(self, service: str, key: str, asked: Asked, now: float) -> Fresh | None:
        """A fresh answer that this process has: the hot path, without waiting. None: `lookup` knows more."""
        entry = self._store.peek(service, key)
        if entry is None:
            return None
        verdict = rules.lookup(entry, asked, now)
        if type(verdict) is not Fresh:
            return None
        self.tallies[service].hits += 1
        return verdict

    async def lookup(self, service: str, key: str, asked: Asked, now: float) -> Fresh | Stale | Miss:
        """What is stored for this request. A Stale or a Miss holds the fence that `store` wants to see again."""
        refusal = rules.refuses(asked)
        verdict: Fresh | Stale | Miss
        if refusal:
            verdict = Miss(refusal, UNFENCED)
        else:
            found = await self._store.get(service, key)
            verdict = rules.lookup(found.entry, asked, now, found.seq)
        self._count(service, verdict)
        return verdict

    async def store(
        self,
        service: str,
        key: str,
        asked: Asked,
        answered: Answered,
        *,
        policy: CachePolicy,
        body: bytes | None,
        seq: int,
        scope: Scope | None = None,
        tags: Collection[str] = (),
    ) -> Skip | None:
        """Keep an answer, if the rules and the fence `seq` allow it; else why not.

        `tags` are the route's, filled in; those of the answer and the service are added. `body` is the whole body,
        None if it was too large. `scope` is what the key was made for, the policy's unless said.
        """
        verdict = rules.may_store(asked, answered, policy, scope or policy.scope)
        if isinstance(verdict, Skip):
            return verdict
        if body is None:
            return Skip("the body is too large")
        if not rules.is_whole(answered.headers, len(body)):
            return Skip("the body is cut short")
        if any(len(tag) > fields.LONGEST_TAG for tag in tags):  # not found by its tag, it could not be taken back
            return Skip("a tag is too long")
        entry = _entry(answered, verdict, body, tags)
        return None if await self._store.put(service, key, entry, seq) else Skip("taken back, or the store is away")

    async def invalidate(self, service: str, tags: Iterable[str] | None = None) -> int:
        """How many entries went: those with any of these tags, or all of the service's. Raises StoreUnavailable."""
        if tags is None:
            return (await self._store.invalidate(service)).entries
        return sum([(await self._store.invalidate(service, tag)).entries for tag in tags])

    async def invalidate_all(self, services: Iterable[str], tag: str | None = None) -> int:
        """The same over many services. Raises StoreUnavailable."""
        return sum([(await self._store.invalidate(service, tag)).entries for service in services])

    async def usage(self, service: str, tag: str | None = None) -> Usage:
        """What a service, or one of its tags, has in the store, and so would lose. Raises StoreUnavailable."""
        return await self._store.usage(service, tag)

    def _count(self, service: str, verdict: Fresh | Stale | Miss) -> None:
        tally = self.tallies[service]
        if isinstance(verdict, Fresh):
            tally.hits += 1
        else:
            tally.misses += 1


def _entry(answered: Answered, storable: Storable, body: bytes, tags: Iterable[str]) -> Entry:
    return Entry(
        status=answered.status,
        headers=fields.kept(answered.headers),
        body=body,
        stored_at=answered.at,
        born=storable.born,
        fresh_until=storable.fresh_until,
        stale_until=storable.stale_until,
        vary=storable.vary,
        variant=storable.variant,
        tags=tuple(sorted(fields.tags(answered.headers).union(tags))),
    )
