"""Requests that an ASGI application handles, from its side."""

from typing import Any

import pytest

from tests.http1_client import Client, Worker


def connect(application: Any) -> Client:
    return Client(Worker(lambda _: None, application))


async def test_the_scope_describes_the_request() -> None:
    seen: dict[str, Any] = {}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-A", b"b")]})
        await send({"type": "http.response.body", "body": b"page"})

    client = connect(application)
    client.send(b"GET /caf%C3%A9?q=1 HTTP/1.1\r\nHost: h\r\nX-B: c\r\n\r\n")
    await client.settle()
    assert seen["type"] == "http"
    assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/café", b"/caf%C3%A9", b"q=1")
    assert seen["headers"] == [(b"host", b"h"), (b"x-b", b"c")]
    assert (seen["client"], seen["server"]) == (("192.0.2.1", 50_000), ("192.0.2.80", 80))
    assert b"\r\nx-a: b\r\ncontent-length: 4\r\n" in client.received
    assert client.received.endswith(b"\r\n\r\npage")
    assert not client.transport.closed


async def test_the_body_arrives_in_chunks_followed_by_the_disconnect() -> None:
    messages: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            messages.append((message["body"], message["more_body"]))
        messages.append("disconnected")

    client = connect(application)
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab")
    await client.settle()
    client.send(b"cd")
    await client.settle()
    assert messages == [(b"ab", True), (b"cd", True), (b"", False)]
    client.disconnect()
    await client.settle()
    assert messages[-1] == "disconnected"
    assert client.worker.tasks == set()


async def test_a_request_without_a_body_has_an_empty_body_message() -> None:
    messages: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        messages.append(await receive())
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    client = connect(application)
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await client.settle()
    assert messages == [{"type": "http.request", "body": b"", "more_body": False}]
    assert b"content-length" not in client.received


async def test_a_streamed_response_is_chunked() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    client = connect(application)
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await client.settle()
    assert client.received.endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")


async def raises_before_responding(scope: Any, receive: Any, send: Any) -> None:
    raise ZeroDivisionError


async def returns_without_a_response(scope: Any, receive: Any, send: Any) -> None:
    pass


@pytest.mark.parametrize("application", [raises_before_responding, returns_without_a_response])
async def test_an_application_that_fails_is_a_500(application: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = connect(application)
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await client.settle()
    assert client.received.startswith(b"HTTP/1.1 500 ")
    assert b'"code":"internal_error"' in client.received
    assert "could not be produced" in caplog.text


async def test_a_failure_during_the_response_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise ZeroDivisionError

    client = connect(application)
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await client.settle()
    assert client.received.endswith(b"1\r\na\r\n")
    assert client.transport.closed


async def test_a_malformed_body_is_a_400(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    client = connect(application)
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n")
    await client.settle()
    assert client.received.startswith(b"HTTP/1.1 400 ")
    assert client.transport.eof_written
    assert not caplog.records
