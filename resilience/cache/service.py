"""CacheService: the cache for Python code, synchronous and asynchronous."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from resilience.cache.computations import Computation
from resilience.cache.fields import MAX_TAG_BYTES
from resilience.cache.json_values import as_json, encode
from resilience.cache.objects import SERVICE, TTL, Held, ObjectCache, Stats
from resilience.cache.store import for_each

T = TypeVar("T")

MAX_TTL: Final = 100 * 365 * 86_400

_computations: ContextVar[tuple[Computation, ...]] = ContextVar("computations", default=())
"""Those that this code runs for: they would wait for themselves if they asked for their own values."""

Objects = Callable[[str], ObjectCache]
"""The ObjectCache of a service."""
Work = Callable[[Objects], Coroutine[Any, Any, T]]


class Runner(Protocol):
    """Runs work on the gateway's event loop."""

    def run(self, work: Work[T]) -> T:
        """From a thread: block until it is done."""

    async def arun(self, work: Work[T]) -> T:
        """From any event loop."""

    def post(self, work: Callable[[Objects], None]) -> None:
        """From anywhere: have it called, without waiting for that; at once from the gateway's event loop."""

    def services(self) -> list[str]:
        """The names of the gateway's services. Called on its event loop."""

    def is_changing(self, tags: Iterable[str]) -> bool:
        """Whether the caller has changed what one of the tags stands for, and not committed it yet."""


class CacheService:
    """The cache for synchronous and, as the methods that begin with `a`, asynchronous code. One that is bound to a
    service shares that service's tags; see `for_service`.

    Names and tags are strings, values what JSON can hold, `ttl` seconds. Anything else raises TypeError or ValueError,
    and changes nothing.
    """

    def __init__(self, runner: Runner, service: str | None = None) -> None:
        self._runner = runner
        self._bound = service
        self._service = service or SERVICE

    def for_service(self, service: str) -> "CacheService":
        """The cache whose values belong to one of the gateway's services: whatever invalidates the service's responses
        by tag, or flushes them, does so with these values. Raises TypeError or ValueError for what is no name.
        """
        if not isinstance(service, str):
            raise TypeError(f"the name of a service must be a string, not {type(service).__name__}")
        if not service:
            raise ValueError("the name of a service must not be empty")
        return CacheService(self._runner, service)

    def get(self, name: str, default: Any = None) -> Any:
        return self._runner.run(lambda objects: objects(self._service).get(_name(name), default))

    async def aget(self, name: str, default: Any = None) -> Any:
        return await self._runner.arun(lambda objects: objects(self._service).get(_name(name), default))

    def set(self, name: str, value: Any, ttl: float = TTL, tags: Iterable[str] = ()) -> bool:
        """False if the store is unavailable, the value is larger than 8 MB, was replaced or invalidated meanwhile, or
        will be as the caller's transaction is committed.
        """
        name, ttl, tags = _name(name), _ttl(ttl), checked_tags(tags)
        if self._runner.is_changing(tags):
            encode(value)
            return False
        return self._runner.run(lambda objects: objects(self._service).set(name, value, ttl, tags))

    async def aset(self, name: str, value: Any, ttl: float = TTL, tags: Iterable[str] = ()) -> bool:
        name, ttl, tags = _name(name), _ttl(ttl), checked_tags(tags)
        if self._runner.is_changing(tags):
            encode(value)
            return False
        return await self._runner.arun(lambda objects: objects(self._service).set(name, value, ttl, tags))

    def delete(self, name: str) -> bool:
        """Whether there was a value. Raises StoreUnavailable."""
        return self._runner.run(lambda objects: objects(self._service).delete(_name(name)))

    async def adelete(self, name: str) -> bool:
        return await self._runner.arun(lambda objects: objects(self._service).delete(_name(name)))

    def get_or_set(self, name: str, compute: Callable[[], T], ttl: float = TTL, tags: Iterable[str] = ()) -> T:
        """The value, computed if there is none: once in the cluster, however many callers ask for it at a time.

        `compute` runs in the caller's thread, with its database connection and transaction. While that has changes of
        the tags that are not committed, made by `compute` too, the value is the caller's alone.
        """
        name, ttl, tags = _name(name), _ttl(ttl), checked_tags(tags)
        if self._runner.is_changing(tags):
            return as_json(compute())
        claim = _Claim(self._service, name)
        try:
            found = self._runner.run(claim.make)
            if isinstance(found, Held):
                held: T = found.value
                return held
            with _computing(found):
                value = compute()
            if self._runner.is_changing(tags):
                return self._alone(claim, value)
            result: T = self._runner.run(lambda objects: objects(self._service).fulfil(found, value, ttl, tags))
        except BaseException as error:
            self._abandon(claim, error)
            raise
        return result

    async def aget_or_set(
        self, name: str, compute: Callable[[], Awaitable[T]], ttl: float = TTL, tags: Iterable[str] = ()
    ) -> T:
        """The same; `compute` is awaited on the caller's event loop."""
        name, ttl, tags = _name(name), _ttl(ttl), checked_tags(tags)
        if self._runner.is_changing(tags):
            return as_json(await compute())
        claim = _Claim(self._service, name)
        try:
            found = await self._runner.arun(claim.make)
            if isinstance(found, Held):
                held: T = found.value
                return held
            with _computing(found):
                value = await compute()
            if self._runner.is_changing(tags):
                return self._alone(claim, value)
            result: T = await self._runner.arun(lambda objects: objects(self._service).fulfil(found, value, ttl, tags))
        except BaseException as error:
            self._abandon(claim, error)
            raise
        return result

    def invalidate_tag(self, tag: str) -> int:
        """Invalidate all entries with this tag, values and responses, of every service, or of the one this cache is
        bound to. Returns how many entries that were. Raises StoreUnavailable.
        """
        return self._runner.run(lambda objects: self._invalidate(objects, tag))

    async def ainvalidate_tag(self, tag: str) -> int:
        return await self._runner.arun(lambda objects: self._invalidate(objects, tag))

    def flush(self) -> int:
        """Invalidate all values; of a cache bound to a service, its responses too. Returns how many entries that were.
        Raises StoreUnavailable.
        """
        return self._runner.run(lambda objects: objects(self._service).flush())

    async def aflush(self) -> int:
        return await self._runner.arun(lambda objects: objects(self._service).flush())

    def stats(self) -> Stats:
        return self._runner.run(lambda objects: objects(self._service).stats())

    async def astats(self) -> Stats:
        return await self._runner.arun(lambda objects: objects(self._service).stats())

    def _alone(self, claim: "_Claim", value: T) -> T:
        """The value, for this caller only: those who wait compute their own."""
        result = as_json(value)
        self._runner.post(partial(claim.abandon, error=asyncio.CancelledError()))
        return result

    def _abandon(self, claim: "_Claim", error: BaseException) -> None:
        if claim.may_be_ours(error):
            self._runner.post(partial(claim.abandon, error=error))

    async def _invalidate(self, objects: Objects, tag: str) -> int:
        (tag,) = checked_tags([tag])
        names = [self._bound] if self._bound else [SERVICE, *self._runner.services()]
        return sum(await for_each(names, lambda name: objects(name).invalidate_tag(tag)))


class _Claim:
    """The claim of a value for a caller that may be cancelled or interrupted before it learns that it is to compute the
    value: those who wait for it would wait for ever.
    """

    def __init__(self, service: str, name: str) -> None:
        self._service = service
        self._name = name
        self._own = _computations.get()
        self._computation: Computation | None = None
        self._error: BaseException | None = None

    async def make(self, objects: Objects) -> Held | Computation:
        """Raises what ObjectCache.claim does, or CancelledError if it has been abandoned."""
        if self._error is not None:
            raise asyncio.CancelledError
        found = await objects(self._service).claim(self._name, self._own)
        if isinstance(found, Computation):
            self._computation = found
            if self._error is not None:
                objects(self._service).abandon(found, self._error)
        return found

    def abandon(self, objects: Objects, error: BaseException) -> None:
        """On the gateway's loop, as `make`."""
        self._error = error
        if self._computation is not None:
            objects(self._service).abandon(self._computation, error)

    def may_be_ours(self, error: BaseException) -> bool:
        """Whether there is something to abandon. With an interruption of the caller `make` may still be under way."""
        return self._computation is not None or not isinstance(error, Exception)


@contextmanager
def _computing(computation: Computation) -> Iterator[None]:
    token = _computations.set((*_computations.get(), computation))
    try:
        yield
    finally:
        with suppress(ValueError):  # a coroutine that is collected as garbage ends in another context
            _computations.reset(token)


def _name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a value must be a string, not {type(name).__name__}")
    return name


def _ttl(ttl: float) -> float:
    if not isinstance(ttl, int | float):
        raise TypeError(f"ttl must be a number of seconds, not {type(ttl).__name__}")
    if not -MAX_TTL <= ttl <= MAX_TTL:  # which is false for a number that is none, too
        raise ValueError(f"ttl must be a finite number of seconds, at most {MAX_TTL}")
    return ttl


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Raises TypeError or ValueError for what are no tags."""
    if isinstance(tags, str):
        raise TypeError(f"tags must be a list of strings, not a string: [{tags!r}]")
    if not isinstance(tags, Iterable):
        raise TypeError(f"tags must be a list of strings, not {type(tags).__name__}")
    tags = tuple(tags)
    for tag in tags:
        if not isinstance(tag, str):
            raise TypeError(f"a tag must be a string, not {type(tag).__name__}")
        if not tag:
            raise ValueError("a tag must not be empty")
    if sum(len(tag.encode()) for tag in tags) > MAX_TAG_BYTES:  # UnicodeEncodeError, a ValueError, for surrogates
        raise ValueError(f"tags must have at most {MAX_TAG_BYTES} bytes together")
    return tags
