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

DATE: Final = formatdate(usegmt=True).encode()
"""Of today: an answer from 1970 would be stale on arrival."""
FIELDS: Final = b"content-type: application/json\r\ndate: %b\r\nserver: raw\r\n" % DATE
ANSWER: Final = b"HTTP/1.1 200 OK\r\n" + FIELDS + b"content-length: %d\r\n\r\n" % len(JSON) + JSON
STRANGE: Final = b"HTTP/1.1 200 OK\r\nx-odd: " + ODD + b"\r\ncontent-length: 0\r\n\r\n"
FAILURE: Final = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


class Origin(asyncio.Protocol):
    """Answers every head with the same bytes; at /odd with a strange field, at /echo with the one it was sent, at
    /fail with 500.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        answer = ANSWER
        if data.startswith(b"GET /odd"):
            answer = STRANGE
        elif data.startswith(b"GET /fail"):
            answer = FAILURE
        elif data.startswith(b"GET /echo"):
            sent = next((line[7:] for line in data.split(b"\r\n") if line.lower().startswith(b"x-odd: ")), b"")
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(sent), sent)
        self.transport.write(answer)


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
