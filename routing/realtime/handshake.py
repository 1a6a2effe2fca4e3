"""Who may open a socket: the handshake's origin and credential, judged as a request's are."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from routing import asgi
from routing.asgi import Scope
from routing.errors import Forbidden
from routing.exchange import Exchange, InternalEndpoint
from routing.http import Headers, first
from routing.pipeline import Gateway
from routing.realtime.limits import HANDSHAKES

BEARER: Final = "bearer"
"""The subprotocol that is echoed; the token beside it never is."""
BREACH: Final = 1002
"""To a client that ended without a code. The server does not tell those who broke the protocol from those who closed
without a word, and leaves it to us to tell the former so; the latter hear no more.
"""
NO_CODE: Final = 1005
_OWN: Final = InternalEndpoint("events", HANDSHAKES)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Handshake(msgspec.Struct, frozen=True):
    """An upgrade on its way in: step 1 done, its credential put where every request's is."""

    exchange: Exchange
    subprotocol: str | None
    offered: tuple[str, ...] = ()
    """What the client offers beside its token."""


def begin(gateway: Gateway, scope: Scope, own: InternalEndpoint | None = _OWN) -> Handshake:
    """A browser cannot set Authorization on a socket: its token comes as the subprotocol after `bearer`."""
    request = asgi.handshake_request(scope)
    offered = subprotocols(scope)
    bears = len(offered) >= 2 and offered[0] == BEARER
    if bears:
        request.headers = [*request.headers, (b"authorization", b"Bearer " + offered[1].encode())]
    return Handshake(gateway.begin(request, own), BEARER if bears else None, tuple(offered[2:] if bears else offered))


def check_origin(headers: Headers, allowed: Sequence[str]) -> None:
    """Raises Forbidden for a page of another host that is not among the allowed. Programs say no origin."""
    said = first(headers, b"origin")
    if said is None:
        return
    origin = said.decode("latin-1").lower()
    if origin in allowed:
        return
    host = (first(headers, b"host") or b"").decode("latin-1").lower()
    if not _same_host(origin, host):
        raise Forbidden("pages of this origin may not open a socket here")


def subprotocols(scope: Any) -> list[str]:
    return [text.strip() for text in scope.get("subprotocols") or () if text.strip()]


def _same_host(origin: str, host: str) -> bool:
    try:
        page = urlsplit(origin)
        default = _DEFAULT_PORTS.get(page.scheme)
        here = urlsplit(f"//{host}")
        same_port = (page.port or default) == (here.port or default)
    except ValueError:
        return False
    return default is not None and page.hostname is not None and page.hostname == here.hostname and same_port
