"""Short words for the calls these tests make."""

from collections.abc import AsyncIterator

from routing.backend.client import Backend, BackendResponse, Call
from routing.http import Body, Headers
from routing.router.policy import Timeout
from tests.origin import ScriptedOrigin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENT = Timeout(connect=5, read=20, total=20)


def call(
    method: str = "GET",
    path: bytes = b"/",
    headers: Headers | None = None,
    body: Body | None = None,
    length: int | None = None,
) -> Call:
    return Call(method, path, headers or [], body, length)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def send(
    backend: Backend, origin: ScriptedOrigin, what: Call | None = None, waits: Timeout = PATIENT
) -> BackendResponse:
    return await backend.send(origin.target, what or call(), waits)


async def read(answer: BackendResponse) -> bytes:
    return b"".join([data async for data in answer.body])


async def fetch(backend: Backend, origin: ScriptedOrigin, what: Call | None = None) -> tuple[int, bytes]:
    answer = await send(backend, origin, what)
    return answer.status, await read(answer)
