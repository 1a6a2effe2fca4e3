"""Fetching again what is asked for most, or what an operator lists, before anybody has to wait for it."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from resilience.cache.heat import HitCounter, ReplayableRequest
from routing.caller import Caller
from routing.errors import GatewayError
from routing.http import Header, Request, Response
from routing.pipeline import Gateway
from routing.router.paths import PREFIX

MAX_CONCURRENT: Final = 8
"""Calls in flight: warming is not to crowd out those who wait."""
_NO_CACHE: Final[Header] = (b"cache-control", b"no-cache")
_STORED: Final = (b"; stored", b"gateway; hit")


class Warmed(NamedTuple):
    """Answers that are stored now, and those that are not."""

    warmed: int
    failed: int


class Warmer:
    """Refetches through the gateway's own steps, as the caller whose answer it is; no rate limit counts it."""

    def __init__(self, gateway: Gateway, heat: HitCounter) -> None:
        self._gateway = gateway
        self._heat = heat

    async def most_requested(self, services: Iterable[str], count: int) -> list[ReplayableRequest]:
        """The most asked for of each service. Raises StoreUnavailable."""
        return [recipe for service in services for recipe in await self._heat.top(service, count)]

    async def warm(
        self, recipes: Iterable[ReplayableRequest], told: Callable[[ReplayableRequest, bool], None] | None = None
    ) -> Warmed:
        """Fetch all of them, telling of each whether its answer is stored now."""
        turn = asyncio.Semaphore(MAX_CONCURRENT)

        async def one(recipe: ReplayableRequest) -> bool:
            async with turn:
                stored = await self._fetch(recipe)
            if told:
                told(recipe, stored)
            return stored

        results = await asyncio.gather(*[one(recipe) for recipe in recipes])
        return Warmed(sum(results), len(results) - sum(results))

    async def _fetch(self, recipe: ReplayableRequest) -> bool:
        headers = [(b"host", recipe.host), *recipe.headers, _NO_CACHE]
        caller = Caller(recipe.caller, recipe.tenant) if recipe.caller else None
        request = Request("GET", recipe.path, recipe.query, headers, "127.0.0.1", caller=caller)
        try:
            response = await self._gateway.refetch(request)
            await _read(response)
        except GatewayError:
            return False
        said = dict(response.headers).get(b"cache-status", b"")
        return response.status < 500 and any(word in said for word in _STORED)


def parse_reference(reference: str) -> ReplayableRequest:
    """The recipe for a path of the gateway's, or `<service>/<path>`, asked for without a credential."""
    path, _, query = reference.strip().encode().partition(b"?")
    if not path.startswith(PREFIX):
        path = PREFIX + path.lstrip(b"/")
    return ReplayableRequest(b"localhost", path, query)


async def _read(response: Response) -> None:
    if isinstance(response.body, bytes):
        return
    async with contextlib.aclosing(response.body) as chunks:
        async for _ in chunks:
            pass
