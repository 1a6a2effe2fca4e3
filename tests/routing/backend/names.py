"""A resolver that tests control, and backends that share a port on several loopback addresses."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from routing.backend.names import Found

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


class FakeResolver:
    """Answers every lookup with `hosts`, or with `error`; waits for `answered` if that is cleared."""

    def __init__(self, *hosts: str) -> None:
        self.hosts: Sequence[str] = hosts
        self.error: Exception | None = None
        self.calls: list[tuple[str, int]] = []
        self.called = asyncio.Event()
        self.answered = asyncio.Event()
        self.answered.set()

    async def __call__(self, host: str, port: int) -> list[Found]:
        self.calls.append((host, port))
        self.called.set()
        await self.answered.wait()
        if self.error is not None:
            raise self.error
        return [found(address, port) for address in self.hosts]


def found(address: str, port: int) -> Found:
    return (socket.AF_INET6, (address, port, 0, 0)) if ":" in address else (socket.AF_INET, (address, port))


@asynccontextmanager
async def backends(*hosts: str) -> AsyncIterator[int]:
    """Backends on one port of these addresses, whose responses are their address. Yields the port."""
    clients: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.append(writer)
        host = writer.get_extra_info("sockname")[0].encode()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(HELLO % (len(host), host))

    servers: list[asyncio.Server] = []
    try:
        for host in hosts:
            port = servers[0].sockets[0].getsockname()[1] if servers else 0
            servers.append(await asyncio.start_server(answer, host, port))
        yield servers[0].sockets[0].getsockname()[1]
    finally:
        for server in servers:
            server.close()
        await asyncio.sleep(0.01)  # until connections that were just accepted are in `clients`
        for client in clients:
            client.close()
        for client in clients:
            with suppress(ConnectionError):
                await client.wait_closed()


@asynccontextmanager
async def unresponsive(host: str, port: int) -> AsyncIterator[None]:
    """An address whose connections are neither accepted nor refused: its queue is full."""
    with socket.socket() as listening:
        listening.bind((host, port))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for client in waiting:
                client.setblocking(False)
                client.connect_ex((host, port))
            await asyncio.sleep(0.01)
            yield
        finally:
            for client in waiting:
                client.close()
