"""A minimal origin server in a separate process: asyncio with prepared responses, so that its own cost is small."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from multiprocessing.connection import Connection
from typing import Final, cast

import uvloop

ODD: Final = b"caf\xe9 \xc3\xa9"
"""A header value that mixes Latin-1 and UTF-8, as some backends send."""
JSON: Final = b'{"items":[' + b",".join(b'{"id":%d,"name":"channel"}' % n for n in range(70)) + b"]}"
"""1.8 kB, the response body of most benchmarks."""
TEN: Final = (JSON * 6)[:10_000]
LARGE: Final = (JSON * 600)[:1_000_000]

DATE: Final = formatdate(usegmt=True).encode()
"""The current date: a response with an old Date would be stale on arrival."""
ETAG: Final = b'"v1"'
FIELDS: Final = (
    b"content-type: application/json\r\ndate: %b\r\nserver: raw\r\ncache-control: public, max-age=3600\r\netag: %b\r\n"
    % (DATE, ETAG)
)


def _response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + FIELDS + b"content-length: %d\r\n\r\n" % len(body) + body


RESPONSE: Final = _response(JSON)
ODD_RESPONSE: Final = b"HTTP/1.1 200 OK\r\nx-odd: " + ODD + b"\r\ncontent-length: 0\r\n\r\n"
FAILURE: Final = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
RESPONSES: Final = {b"/odd": ODD_RESPONSE, b"/fail": FAILURE, b"/ten": _response(TEN), b"/large": _response(LARGE)}
METHODS: Final = (b"GET ", b"POST ", b"HEAD ")


class Origin(asyncio.Protocol):
    """Responds to every request head with the same bytes, except for /odd (an X-Odd field), /echo (returns the X-Odd
    field of the request), /ten and /large (larger bodies) and /fail (500). A /miss prefix is ignored.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(METHODS):
            return  # the body of a request already responded to
        path = data.split(b" ", 2)[1].partition(b"?")[0].removeprefix(b"/miss")
        if path == b"/echo":
            sent = next((line[7:] for line in data.split(b"\r\n") if line.lower().startswith(b"x-odd: ")), b"")
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(sent), sent))
        else:
            self.transport.write(RESPONSES.get(path, RESPONSE))


@contextmanager
def run(protocol: type[asyncio.Protocol] = Origin) -> Iterator[str]:
    """Run the origin, or another server, and yield its address."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    origin = multiprocessing.get_context("spawn").Process(target=_serve, args=(sender, protocol), daemon=True)
    origin.start()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}"
    finally:
        origin.terminate()
        origin.join()


def _serve(port: Connection, protocol: type[asyncio.Protocol]) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())
