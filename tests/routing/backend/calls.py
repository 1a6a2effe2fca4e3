"""Helpers that make calls to a scripted backend."""

from collections.abc import AsyncIterator

from routing.backend.client import Backend, BackendResponse, Call
from routing.http import Body, Headers
from routing.router.policy import Timeout
from tests.origin import ScriptedOrigin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GENEROUS = Timeout(connect=5, read=20, total=20)


def call(
    method: str = "GET",
    path: bytes = b"/",
    headers: Headers | None = None,
    body: Body | None = None,
    length: int | None = None,
) -> Call:
    return Call(method, path, headers or [], body, length)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def send(
    backend: Backend, origin: ScriptedOrigin, what: Call | None = None, timeouts: Timeout = GENEROUS
) -> BackendResponse:
    return await backend.send(origin.target, what or call(), timeouts)


async def read(response: BackendResponse) -> bytes:
    return b"".join([data async for data in response.body])


async def fetch(backend: Backend, origin: ScriptedOrigin, what: Call | None = None) -> tuple[int, bytes]:
    response = await send(backend, origin, what)
    return response.status, await read(response)
