"""Whether a caller's response is stored: then it may learn that it is invalidated."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from resilience.cache.store import Store, holds
from routing.caller import Caller
from routing.http import Header, Request
from routing.router import paths
from routing.router.table import Match
from routing.steps.cache.cache_key import CacheKeys

MAX_HOSTS: Final = 8
"""Hosts of a service at which a stored response is looked for."""
_OF_SCRIPTS: Final[Header] = (b"x-requested-with", b"XMLHttpRequest")
"""A part of keys that libraries for browsers send with each request, and that a WebSocket's handshake cannot have."""


async def holds_response(store: Store, keys: CacheKeys, match: Match, caller: Caller, request: Request) -> bool:
    """Whether a response to this caller's GET of a service's path is stored, under the gateway's host or one of the
    service's own.
    """
    scripts = replace(request, headers=[*request.headers, _OF_SCRIPTS], shared_head=None)
    return await _holds(store, keys, match, caller, request) or await _holds(store, keys, match, caller, scripts)


async def _holds(store: Store, keys: CacheKeys, match: Match, caller: Caller, request: Request) -> bool:
    name = match.service.name
    if await holds(store, name, keys.key(match, caller, paths.PREFIX + name.encode(), request)):
        return True
    for moved in _at_hosts(request, match.service.hosts[:MAX_HOSTS]):
        if await holds(store, name, keys.key(match, caller, b"", moved)):
            return True
    return False


def _at_hosts(request: Request, hosts: Iterable[str]) -> Iterator[Request]:
    """The request to each host, at the default port and at that of the request."""
    port = request.fields.get(b"host", b"").rpartition(b":")[2]
    others = [field for field in request.headers if field[0] != b"host"]
    for host in hosts:
        yield replace(request, headers=[(b"host", host.encode()), *others], shared_head=None)
        if port.isdigit():
            yield replace(request, headers=[(b"host", b"%b:%b" % (host.encode(), port)), *others], shared_head=None)
