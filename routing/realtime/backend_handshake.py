"""The handshake with the backend of a WebSocket: sent to a target as a call is, and answered with a status.

This module, backend_socket.py and tunnel.py alone import websockets, as the client of the backend.
"""

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.http11 import Response
from websockets.typing import Subprotocol

from routing.backend.client import BackendResponse, Call
from routing.backend.dialer import Dialer, connecting
from routing.backend.encoding import TargetOrigin, parse_origin
from routing.backend.reasons import failure_reason, innermost, refuses_client
from routing.errors import BadGateway, BadRequest, UpstreamTimeout
from routing.http import HOP_BY_HOP, Headers
from routing.realtime.backend_socket import BackendSocket
from routing.realtime.tunnel import MAX_TUNNEL_MESSAGE_BYTES
from routing.router.policy import Target, Timeout
from routing.steps.calls import SWITCHING_PROTOCOLS
from routing.tls.context import TlsContexts

MAX_QUEUED_MESSAGES: Final = 4
"""Messages of the backend that may wait for the client."""


class BackendHandshake:
    """One WebSocket's handshakes with targets, until one accepts. Takes the place of `Backend` in `Calls`.

    `subprotocols` are offered to the target. `accepted` is open once a response's status is 101.
    """

    accepted: BackendSocket

    def __init__(self, dialer: Dialer, contexts: TlsContexts, subprotocols: Sequence[str]) -> None:
        self._dialer = dialer
        self._contexts = contexts
        self._opened: BackendSocket | None = None
        self._subprotocols = [Subprotocol(name) for name in subprotocols] or None

    async def send(
        self,
        target: Target,
        call: Call,
        timeout: Timeout,  # noqa: ASYNC109 - five timeouts, not one
        deadline: float,
    ) -> BackendResponse:
        """The target's response to the handshake: 101, or the status with which it refused.

        `deadline` is in the event loop's time. Raises BadGateway, UpstreamTimeout or BadRequest.
        """
        origin = parse_origin(target.url)
        try:
            accepted = await self._connect(origin, call, timeout, deadline, await self._tls_options(origin, target))
        except TimeoutError as error:
            raise UpstreamTimeout("handshake timeout") from error
        except InvalidStatus as error:
            return _refusal(error)
        except OSError as error:
            raise BadGateway(failure_reason(error)) from error
        except InvalidHandshake as error:
            cause = self._opened.error if self._opened is not None else None
            if isinstance(cause, ssl.SSLError):
                raise BadGateway(failure_reason(cause), unsent=refuses_client(cause)) from error
            raise BadGateway(f"invalid handshake: {innermost(error)}") from error
        except (InvalidURI, ValueError) as error:  # ValueError: characters, or a port of the client's Host field
            raise BadRequest("the path or the host cannot be sent to the service") from error
        self.accepted = cast(BackendSocket, accepted)  # by `create_connection`
        assert accepted.response is not None  # noqa: S101 - it has accepted the handshake
        return BackendResponse(SWITCHING_PROTOCOLS, _fields(accepted.response), None, _HandshakeBody(accepted))

    def _create(self, *args: Any, **options: Any) -> BackendSocket:
        self._opened = BackendSocket(*args, **options)
        return self._opened

    async def _tls_options(self, origin: TargetOrigin, target: Target) -> dict[str, Any]:
        """Raises ssl.SSLError."""
        if not origin.tls:
            return {}
        return {"ssl": await self._contexts.get(target.tls), "server_hostname": origin.server_name(target.tls)}

    def _connect(
        self, origin: TargetOrigin, call: Call, timeout: Timeout, deadline: float, options: dict[str, Any]
    ) -> "_Connect":
        uri = b"%b://%b%b" % (b"wss" if origin.tls else b"ws", call.host or origin.authority, origin.target(call.path))
        left = deadline - asyncio.get_running_loop().time()
        return _Connect(
            uri.decode("ascii"),
            self._dialer,
            origin,
            timeout.connect,
            deadline,
            additional_headers=_handshake_fields(call.headers),
            subprotocols=self._subprotocols,
            user_agent_header=None,
            compression=None,
            create_connection=self._create,
            proxy=None,
            open_timeout=min(timeout.connect + timeout.read, left),
            max_size=MAX_TUNNEL_MESSAGE_BYTES,
            max_queue=MAX_QUEUED_MESSAGES,
            **options,
        )


def _refusal(error: InvalidStatus) -> BackendResponse:
    return BackendResponse(error.response.status_code, _fields(error.response), None, _HandshakeBody(None))


def _fields(response: Response) -> Headers:
    return [(_encoded(name.lower()), _encoded(value)) for name, value in response.headers.raw_items()]


def _encoded(text: str) -> bytes:
    return text.encode("latin-1", "replace")


class _Connect(connect):
    """Connects to the target only, whatever the URI's host: a redirect is an error."""

    def __init__(
        self, uri: str, dialer: Dialer, origin: TargetOrigin, seconds: float, deadline: float, **options: Any
    ) -> None:
        super().__init__(uri, **options)
        if uri.endswith("?") and not self.ws_uri.query:  # sent as it is (RFC 3986 section 6.2.3)
            self.ws_uri = dataclasses.replace(self.ws_uri, path=f"{self.ws_uri.path}?")
        self._dialer = dialer
        self._origin = origin
        self._seconds = seconds
        self._deadline = deadline

    async def open_tcp_connection(self) -> ClientConnection:
        origin = self._origin
        async with connecting(self._seconds, self._deadline):
            _, self.create_connection_kwargs["sock"] = await self._dialer.connect(origin.host, origin.port)
            return await super().open_tcp_connection()

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class _HandshakeBody:
    """A response's body: none, since what follows a 101 is the WebSocket's own."""

    def __init__(self, connection: ClientConnection | None) -> None:
        self._connection = connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    def complete_body(self) -> bytes:
        return b""

    async def aclose(self) -> None:
        """Abandon the connection."""
        if self._connection is not None:
            self._connection.transport.abort()


def _handshake_fields(headers: Headers) -> list[tuple[str, str]]:
    """Without the fields that the handshake with the backend sets itself."""
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if not name.startswith(b"sec-websocket-") and name not in HOP_BY_HOP and name != b"host"
    ]
