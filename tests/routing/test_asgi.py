"""The ASGI adapter: the order in which a server's messages are received, by the body's reader and by the watch."""

import asyncio
from typing import Any

import pytest

from routing import asgi
from routing.http import ClientGone, Request, Response

DISCONNECT = {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class ServerConnection:
    """What an ASGI server offers an application: `messages`, which may be added to, and a record of what is sent."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.receiving = 0
        for message in messages:
            self.messages.put_nowait(message)

    async def receive(self) -> dict[str, Any]:
        assert not self.receiving, "two receivers at once, of which one gets the other's message"
        self.receiving += 1
        try:
            return await self.messages.get()
        finally:
            self.receiving -= 1

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def serve(
        self, handler: asgi.RequestHandler, *fields: tuple[bytes, bytes], method: str = "POST", version: str = "1.1"
    ) -> None:
        scope = {
            "type": "http",
            "method": method,
            "path": "/",
            "query_string": b"",
            "headers": [*fields],
            "http_version": version,
        }
        await asyncio.wait_for(asgi.serve_asgi(handler, unused, scope, self.receive, self.send), 5)


async def unused(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    raise AssertionError("the handler answers")


async def read_all(request: Request) -> bytes:
    assert request.body is not None
    return b"".join([chunk async for chunk in request.body])


@pytest.fixture
def short_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "WATCH_DELAY_SECONDS", 0.0)


@pytest.mark.usefixtures("short_delay")
@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_a_body_that_is_read_after_the_watch_has_begun_is_complete(pause: float) -> None:
    """As when the call waits for a place in the bulkhead, or for a name server."""

    async def handler(request: Request) -> Response:
        assert request.watch_disconnect is not None
        request.watch_disconnect()
        await asyncio.sleep(0.05)
        assert request.body is not None
        chunks = []
        async for chunk in request.body:
            chunks.append(chunk)
            await asyncio.sleep(pause)
        return Response(200, [], b"-".join(chunks))

    connection = ServerConnection(piece(b"a"), piece(b"b"), piece(b""), piece(b"c", more=False))
    await connection.serve(handler, (b"content-length", b"3"))
    assert connection.body == b"a-b-c"


@pytest.mark.usefixtures("short_delay")
@pytest.mark.parametrize("last", [[piece(b"ab", more=False)], [piece(b"ab"), piece(b"", more=False)]])
async def test_a_disconnect_after_the_body_cancels_the_handler(last: list[dict[str, Any]]) -> None:
    """Also where the reader stops at the announced length, and so before the iterator's end."""
    connection, cancelled = ServerConnection(*last), asyncio.Event()

    async def handler(request: Request) -> Response:
        assert request.watch_disconnect is not None
        assert request.body is not None
        request.watch_disconnect()
        assert await anext(request.body) == b"ab"
        await asyncio.sleep(0.02)
        connection.messages.put_nowait(DISCONNECT)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Response(200, [], b"")

    await connection.serve(handler, (b"content-length", b"2"))
    assert cancelled.is_set()
    assert not connection.sent


@pytest.mark.usefixtures("short_delay")
async def test_a_disconnect_within_the_body_ends_its_reader() -> None:
    connection, reading = ServerConnection(piece(b"a")), []

    async def handler(request: Request) -> Response:
        assert request.watch_disconnect is not None
        request.watch_disconnect()
        reading.append(asyncio.create_task(read_all(request)))
        await asyncio.sleep(0.02)
        connection.messages.put_nowait(DISCONNECT)
        await asyncio.wait(reading)
        return Response(200, [], b"")

    await connection.serve(handler, (b"transfer-encoding", b"chunked"))
    with pytest.raises(ClientGone):
        reading[0].result()


@pytest.mark.parametrize(
    ("method", "version", "fields", "has_content"),
    [
        ("POST", "2", [], True),  # RFC 9113 section 8.1: no field is needed
        ("PUT", "3", [], True),
        ("DELETE", "2", [], False),
        ("POST", "2", [(b"content-length", b"0")], False),
        ("GET", "2", [], False),
        ("GET", "2", [(b"content-length", b"1")], True),
        ("POST", "1.1", [], False),
        ("POST", "1.1", [(b"transfer-encoding", b"chunked")], True),
    ],
)
async def test_a_request_over_http2_may_have_content_of_unknown_length(
    method: str, version: str, fields: list[tuple[bytes, bytes]], has_content: bool
) -> None:
    def handler(request: Request) -> Response:
        return Response(200, [], str(request.body is not None).encode())

    connection = ServerConnection(piece(b"a", more=False))
    await connection.serve(handler, *fields, method=method, version=version)
    assert connection.body.decode() == str(has_content)
