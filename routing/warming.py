"""Cache warming: refreshes the most requested responses, or those that an operator lists, before clients need them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from resilience.cache.hit_counter import HitCounter, ReplayableRequest
from routing.caller import Caller
from routing.errors import GatewayError
from routing.http import Header, Request, Response
from routing.messages.bodies import drain
from routing.pipeline import Gateway
from routing.router.paths import PREFIX
from routing.steps.cache.coalescing import BACKGROUND_SECONDS

LOCAL_HOST: Final = "localhost"
LOCAL_ADDRESS: Final = f"http://{LOCAL_HOST}"
MAX_CONCURRENT: Final = 8
"""Requests in flight, so that warming does not displace those of clients."""
_NO_CACHE: Final[Header] = (b"cache-control", b"no-cache")
_STORED: Final = (b"; stored", b"gateway; hit")


class Warmed(NamedTuple):
    """Counts of requests whose response is now stored, and of the others."""

    warmed: int
    failed: int


class Warmer:
    """Refetches through the gateway's steps, on behalf of each response's caller and without a rate limit."""

    def __init__(self, gateway: Gateway, hit_counter: HitCounter) -> None:
        self._gateway = gateway
        self._heat = hit_counter

    async def most_requested(self, services: Iterable[str], count: int) -> list[ReplayableRequest]:
        """The `count` most requested of each service. Raises StoreUnavailable."""
        return [request for service in services for request in await self._heat.top(service, count)]

    async def warm(
        self, requests: Iterable[ReplayableRequest], on_result: Callable[[ReplayableRequest, bool], None] | None = None
    ) -> Warmed:
        """Fetch all of them, and call `on_result` with each and whether its response is now stored."""
        slots = asyncio.Semaphore(MAX_CONCURRENT)

        async def one(request: ReplayableRequest) -> bool:
            async with slots:
                stored = await self._fetch(request)
            if on_result:
                on_result(request, stored)
            return stored

        results = await asyncio.gather(*[one(request) for request in requests])
        return Warmed(sum(results), len(results) - sum(results))

    async def _fetch(self, replayable: ReplayableRequest) -> bool:
        headers = [(b"host", replayable.host), *replayable.headers, _NO_CACHE]
        caller = Caller(replayable.caller, replayable.tenant) if replayable.caller else None
        request = Request(
            "GET", replayable.path, replayable.query, headers, "127.0.0.1", replayable.scheme, caller=caller
        )
        try:
            response = await self._gateway.refetch(request)
            async with asyncio.timeout(BACKGROUND_SECONDS):
                await drain(response)
        except (GatewayError, TimeoutError):
            return False
        return is_stored(response)


def is_stored(response: Response) -> bool:
    """Whether the cache has this response of the gateway, once its body has been read."""
    status = dict(response.headers).get(b"cache-status", b"")
    return response.status < 500 and any(marker in status for marker in _STORED)


def parse_reference(reference: str, address: str = LOCAL_ADDRESS) -> ReplayableRequest:
    """A request without a credential for a path of the gateway, `<service>/<path>`, or a whole URL.

    `address` is the one that clients use, such as `https://gateway.example.com`: what they get is stored for that
    scheme and host.
    """
    text = reference.strip()
    if "://" in text:
        scheme, _, rest = text.partition("://")
        host, slash, target = rest.partition("/")
        path, _, query = (slash + target).encode().partition(b"?")
        return ReplayableRequest(host.encode(), path or b"/", query, scheme=scheme)
    path, _, query = text.encode().partition(b"?")
    if not path.startswith(PREFIX):
        path = PREFIX + path.lstrip(b"/")
    scheme, _, host = address.rstrip("/").partition("://")
    return ReplayableRequest(host.encode(), path, query, scheme=scheme)
