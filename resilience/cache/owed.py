"""Invalidations that Redis has not performed: it was away, or refused them while it still answered look-ups."""

from collections.abc import Awaitable, Callable
from typing import Final

from resilience.outage import StoreUnavailable

MAX_TAGS: Final = 100
"""Of one service; above, everything of the service is to be invalidated."""

Invalidate = Callable[[str, str | None], Awaitable[object]]


class OwedInvalidations:
    """By service, in this process: they are performed before anything of the service is looked up again."""

    def __init__(self, invalidate: Invalidate) -> None:
        """`invalidate` performs one, of a service's tag, or of the service if the tag is None."""
        self._invalidate = invalidate
        self._tags: dict[str, set[str | None]] = {}

    def __contains__(self, service: str) -> bool:
        return service in self._tags

    def __bool__(self) -> bool:
        return bool(self._tags)

    def add(self, service: str, tag: str | None) -> None:
        tags = self._tags.setdefault(service, set())
        tags.add(tag)
        if None in tags or len(tags) > MAX_TAGS:
            self._tags[service] = {None}

    async def perform(self, service: str) -> bool:
        """Whether none is owed any more. Stops at the first that fails."""
        for tag in list(self._tags.get(service, ())):
            try:
                await self._invalidate(service, tag)
            except StoreUnavailable:
                return False
            self._settle(service, tag)
        return service not in self._tags

    async def perform_all(self) -> None:
        for service in list(self._tags):
            await self.perform(service)

    def _settle(self, service: str, tag: str | None) -> None:
        tags = self._tags.get(service)
        if tags is not None:
            tags.discard(tag)
            if not tags:
                del self._tags[service]
