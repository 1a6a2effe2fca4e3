"""The backend of every benchmark: raw sockets in a process of its own; what is measured is what stands before it."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from multiprocessing.connection import Connection
from typing import Final, cast

import uvloop

ODD: Final = b"caf\xe9 \xc3\xa9"
"""A header value in two encodings at once, as backends send them."""
JSON: Final = b'{"items":[' + b",".join(b'{"id":%d,"name":"channel"}' % n for n in range(70)) + b"]}"
"""1.8 kB, as every table in docs/ has it."""
TEN: Final = (JSON * 6)[:10_000]
LARGE: Final = (JSON * 600)[:1_000_000]

DATE: Final = formatdate(usegmt=True).encode()
"""Of today: an answer from 1970 would be stale on arrival."""
ETAG: Final = b'"v1"'
FIELDS: Final = (
    b"content-type: application/json\r\ndate: %b\r\nserver: raw\r\ncache-control: public, max-age=3600\r\netag: %b\r\n"
    % (DATE, ETAG)
)


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + FIELDS + b"content-length: %d\r\n\r\n" % len(body) + body


ANSWER: Final = _answer(JSON)
STRANGE: Final = b"HTTP/1.1 200 OK\r\nx-odd: " + ODD + b"\r\ncontent-length: 0\r\n\r\n"
FAILURE: Final = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
ANSWERS: Final = {b"/odd": STRANGE, b"/fail": FAILURE, b"/ten": _answer(TEN), b"/large": _answer(LARGE)}
METHODS: Final = (b"GET ", b"POST ", b"HEAD ")


class Origin(asyncio.Protocol):
    """Answers every head with the same bytes; at /odd with a strange field, at /echo with the one it was sent, at
    /ten and /large with more, at /fail with 500. What is below /miss is what is beside it.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(METHODS):
            return  # the rest of a request that was answered at its head
        path = data.split(b" ", 2)[1].partition(b"?")[0].removeprefix(b"/miss")
        if path == b"/echo":
            sent = next((line[7:] for line in data.split(b"\r\n") if line.lower().startswith(b"x-odd: ")), b"")
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(sent), sent))
        else:
            self.transport.write(ANSWERS.get(path, ANSWER))


@contextmanager
def running() -> Iterator[str]:
    """The origin's address, for as long as it runs."""
    here, there = multiprocessing.Pipe()
    origin = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    origin.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        origin.terminate()
        origin.join()


def _serve(port: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())
