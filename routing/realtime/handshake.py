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
from routing.realtime.limits import HANDSHAKE_RATE

BEARER: Final = "bearer"
"""The subprotocol that is echoed; the token beside it never is."""
BREACH: Final = 1002
"""To a client that ended without a code. The server does not tell those who broke the protocol from those who closed
without a word, and leaves it to us to tell the former so; the latter hear no more.
"""
NO_CODE: Final = 1005
_OWN: Final = InternalEndpoint("events", HANDSHAKE_RATE)
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
    """Raise Forbidden for a page of a foreign origin that is not in `allowed`. Only browsers send Origin."""
    origin = first(headers, b"origin")
    if origin is None or origin.decode("latin-1").lower() in allowed or same_origin(headers):
        return
    raise Forbidden("this origin may not open a WebSocket here")


def same_origin(headers: Headers) -> bool:
    """Whether Origin names the host and port of the Host field. False without Origin."""
    try:
        origin = urlsplit(_lowercase(headers, b"origin"))
        host = urlsplit(f"//{_lowercase(headers, b'host')}")
        default_port = _DEFAULT_PORTS.get(origin.scheme)
        same_port = (origin.port or default_port) == (host.port or default_port)
    except ValueError:
        return False
    return default_port is not None and origin.hostname is not None and origin.hostname == host.hostname and same_port


def subprotocols(scope: Any) -> list[str]:
    return [text.strip() for text in scope.get("subprotocols") or () if text.strip()]


def _lowercase(headers: Headers, name: bytes) -> str:
    return (first(headers, name) or b"").decode("latin-1").lower()
