"""WebSocket handshakes: origin checks, and the credential in the form in which requests carry it."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from routing import asgi
from routing.asgi import Scope, Send
from routing.errors import Forbidden
from routing.exchange import Exchange, InternalEndpoint
from routing.http import Headers, Response, first
from routing.messages.origins import Origins
from routing.pipeline import Gateway
from routing.realtime.limits import HANDSHAKE_RATE

BEARER: Final = "bearer"
"""The subprotocol before the token. It is selected in the response, the token never is."""
_ENDPOINT: Final = InternalEndpoint("events", HANDSHAKE_RATE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
PINGS_EXTENSION: Final = "gateway.pings"
"""In the scope's `extensions`, by the gateway's own server: `count`, a function that returns how many pings the client
has sent.
"""


def _no_pings() -> int:
    return 0


class Handshake(msgspec.Struct, frozen=True):
    """An upgrade request after step 1. `subprotocols` are those that the client offers besides its token.

    `client_pings` returns how many pings the client has sent; 0 if its server does not say.
    """

    exchange: Exchange
    subprotocol: str | None
    subprotocols: tuple[str, ...] = ()
    client_pings: Callable[[], int] = _no_pings


def begin(gateway: Gateway, scope: Scope, endpoint: InternalEndpoint | None = _ENDPOINT) -> Handshake:
    """Take the token from the subprotocol after `bearer`, as browsers cannot set Authorization on a WebSocket."""
    request = asgi.handshake_request(scope)
    offered = _subprotocols(scope)
    has_token = len(offered) >= 2 and offered[0] == BEARER
    if has_token:
        request.headers = [*request.headers, (b"authorization", b"Bearer " + offered[1].encode())]
    exchange = gateway.begin(request, endpoint)
    pings = scope.get("extensions", {}).get(PINGS_EXTENSION, {}).get("count", _no_pings)
    return Handshake(exchange, BEARER if has_token else None, tuple(offered[2:] if has_token else offered), pings)


def check_origin(headers: Headers, allowed: Sequence[str]) -> None:
    """Raise Forbidden for a page of a foreign origin that is not in `allowed`, which are patterns.

    Only browsers send Origin. `*` admits no handshake with cookies: those are sent without the page's knowledge.
    """
    origin = first(headers, b"origin")
    if origin is None or same_origin(headers):
        return
    origins, text = _origins(tuple(allowed)), origin.decode("latin-1")
    if origins.lists(text) or (origins.has_any and first(headers, b"cookie") is None):
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


@lru_cache(maxsize=256)
def _origins(patterns: tuple[str, ...]) -> Origins:
    return Origins(patterns)


async def send_denial(response: Response, scope: Scope, send: Send) -> bool:
    """Reject the handshake with this response. False: the server can only send a 403.

    ASGI's WebSocket Denial Response extension.
    """
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        return False
    await send({"type": "websocket.http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "websocket.http.response.body", "body": response.body})
    return True


def _subprotocols(scope: Any) -> list[str]:
    return [text.strip() for text in scope.get("subprotocols") or () if text.strip()]


def _lowercase(headers: Headers, name: bytes) -> str:
    return (first(headers, name) or b"").decode("latin-1").lower()
