"""PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): who the client of a proxied connection is."""

import asyncio
import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, NamedTuple, cast

from routing.http1.counted_connection import CountedConnection
from routing.http1.lifecycle import SHUTDOWN_SECONDS
from routing.http1.worker import Worker
from routing.messages.proxies import TrustedProxies, normal_address

HEADER_SECONDS: Final = 10.0
"""How long the header may take to arrive."""
MAX_V1_BYTES: Final = 107
MAX_V2_BYTES: Final = 4_096
_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED: Final = 16
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES: Final = {0x11: (4, 12), 0x21: (16, 36)}
"""TCP over IPv4 and IPv6: bytes of one address, and of all addresses and ports."""
_TLV_SSL: Final = 0x20


class ProxyHeader(NamedTuple):
    """`size` is the header's bytes. `client` is None where the connection is the proxy's own or its kind is unknown."""

    size: int
    client: tuple[str, int] | None
    tls: bool = False


def parse(data: bytes) -> ProxyHeader | None:
    """The header at the start of a connection; None while it is incomplete. Raises ValueError if the data is no such
    header.
    """
    if data.startswith(_V1):
        return _parse_v1(data)
    if data.startswith(_V2):
        return _parse_v2(data)
    if _V1.startswith(data) or _V2.startswith(data):
        return None
    raise ValueError("not a PROXY protocol header")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, MAX_V1_BYTES)
    if end < 0:
        if len(data) >= MAX_V1_BYTES:
            raise ValueError("the header has no end")
        return None
    words = data[:end].decode("ascii").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader(end + 2, None)
    _, family, source, destination, port, destination_port = words
    versions = {"TCP4": 4, "TCP6": 6}
    if not ip_address(source).version == ip_address(destination).version == versions.get(family):
        raise ValueError("the addresses are not of the family")
    if not (port + destination_port).isdigit() or max(int(port), int(destination_port)) > 65_535:
        raise ValueError("a port is invalid")
    return ProxyHeader(end + 2, (normal_address(source), int(port)))


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_FIXED:
        return None
    command, family, length = struct.unpack_from("!BBH", data, len(_V2))
    size = _V2_FIXED + length
    if command not in (_LOCAL, _PROXY) or size > MAX_V2_BYTES:
        raise ValueError("the command or the length is invalid")
    if len(data) < size:
        return None
    if command == _LOCAL or family not in _FAMILIES:
        return ProxyHeader(size, None)
    width, addresses = _FAMILIES[family]
    if length < addresses:
        raise ValueError("the addresses are incomplete")
    source = ip_address(data[_V2_FIXED : _V2_FIXED + width])
    (port,) = struct.unpack_from("!H", data, _V2_FIXED + 2 * width)
    return ProxyHeader(size, (normal_address(str(source)), port), _used_tls(data[_V2_FIXED + addresses : size]))


def _used_tls(extensions: bytes) -> bool:
    """Whether the client connected to the proxy with TLS (PP2_CLIENT_SSL). Raises ValueError for an overlong one."""
    position, tls = 0, False
    while position + 3 <= len(extensions):
        kind, length = struct.unpack_from("!BH", extensions, position)
        value = extensions[position + 3 : position + 3 + length]
        if len(value) < length:
            raise ValueError("an extension is incomplete")
        tls = tls or (kind == _TLV_SSL and value[:1] != b"" and bool(value[0] & 1))
        position += 3 + length
    return tls


class ProxiedConnection(asyncio.Protocol):
    """The start of a connection: reads the header of a trusted proxy, and hands over to `make_connection`'s.

    Another peer's connection is handed over at once. A connection without a valid header is aborted. Until then the
    connection is one of `worker`'s, which waits for it when it stops.
    """

    def __init__(
        self,
        proxies: TrustedProxies,
        make_connection: Callable[[], CountedConnection],
        worker: Worker,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._proxies = proxies
        self._make_connection = make_connection
        self._worker = worker
        self._loop = loop
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if not isinstance(peer, tuple) or not self._proxies.trusts(peer[0]):
            self._hand_over(None, b"")
        else:
            self._worker.connections.add(self)
            self._abort_after(SHUTDOWN_SECONDS if self._worker.stopping else HEADER_SECONDS)

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            header = parse(self._data)
        except ValueError:
            self._transport.abort()
            return
        if header is not None:
            self._hand_over(header, self._data[header.size :])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._leave()

    def shutdown(self) -> None:
        """Called by the worker when it stops."""
        self._abort_after(SHUTDOWN_SECONDS)

    def _hand_over(self, header: ProxyHeader | None, data: bytes) -> None:
        self._leave()
        connection = self._make_connection()
        connection.connection_made(self._transport)
        if header is not None and header.client is not None:
            connection.set_client(header.client, "https" if header.tls else "http")
        self._transport.set_protocol(connection)
        if data:
            connection.data_received(data)

    def _abort_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self._transport.abort)

    def _leave(self) -> None:
        self._worker.connections.discard(self)
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
