"""Stored responses as a request gets them."""

from resilience.cache.entry import Entry
from resilience.cache.messages import CacheRequest, Fresh, Stale
from resilience.cache.responses import construct_response
from routing.http import Headers, Response
from routing.steps.cache import cache_status


def render(request: CacheRequest, result: Fresh | Stale) -> Response:
    """The stored response for this request: whole, a range of it, or 304 Not Modified."""
    stored = construct_response(result.entry, request, result.age)
    return Response(stored.status, stored.headers, stored.body, framed=True)


def hit_headers(entry: Entry, age: int, ttl: int) -> Headers:
    """The header fields of a fresh response served to an unconditional GET, with X-Cache and Cache-Status."""
    stored = construct_response(entry, CacheRequest("GET", ()), age)
    return [*stored.headers, (b"x-cache", b"HIT"), (b"cache-status", cache_status.fresh(ttl).encode())]
