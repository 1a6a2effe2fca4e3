"""Stored responses as a request gets them."""

from typing import Final

from resilience.cache.entry import Entry
from resilience.cache.ignoring import Ignorable
from resilience.cache.messages import CacheRequest, CacheResponse, Fresh, Stale
from resilience.cache.responses import construct_response
from routing.http import Headers, Response, first
from routing.steps.cache import cache_status

_COOKIE: Final = b"set-cookie"


def render(request: CacheRequest, result: Fresh | Stale) -> Response:
    """The stored response for this request: whole, a range of it, or 304 Not Modified."""
    stored = construct_response(result.entry, request, result.age)
    return Response(stored.status, stored.headers, stored.body, framed=True)


def with_cookies(response: Response, confirmation: CacheResponse) -> Response:
    """The stored response with the cookies of the 304 that has confirmed it: ignored, they are not stored, and are for
    this client alone.
    """
    if Ignorable.SET_COOKIE in confirmation.ignore and first(response.headers, _COOKIE) is None:
        response.headers += [pair for pair in confirmation.headers if pair[0] == _COOKIE]
    return response


def hit_headers(entry: Entry, age: int, ttl: int) -> Headers:
    """The header fields of a fresh response served to an unconditional GET, with X-Cache and Cache-Status."""
    stored = construct_response(entry, CacheRequest("GET", ()), age)
    return [*stored.headers, (b"x-cache", b"HIT"), (b"cache-status", cache_status.fresh(ttl, entry.ignored).encode())]
