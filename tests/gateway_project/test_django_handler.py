"""Django's handler with a body that is still to come, from the server's side."""

import asyncio
import contextlib
import io
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import FileResponse, HttpResponse

from gateway_project import asgi
from gateway_project.pages import handler as django_handler
from gateway_project.pages.budget import PageBudget
from gateway_project.pages.handler import BodyStream, StreamingHandler
from routing.errors import BodyTooLarge
from routing.http import ClientGone
from tests.http1_client import Client, Worker
from tests.processes import eventually

LOGIN = b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nCookie: csrftoken=" + b"a" * 32
FORM = b"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nusername=a"


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert eventually(lambda: threading.active_count() <= before + 1), threading.enumerate()


class Requests:
    """ASGI's two callables for one request, which never disconnects by itself."""

    def __init__(self, *pieces: bytes, complete: bool = False) -> None:
        self.sent: list[Any] = []
        self.received = 0
        self.begun = asyncio.Event()
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        for index, piece in enumerate(pieces):
            is_last = complete and index == len(pieces) - 1
            self.messages.put_nowait({"type": "http.request", "body": piece, "more_body": not is_last})

    async def receive(self) -> Any:
        message = await self.messages.get()
        self.received += 1
        self.begun.set()
        return message

    async def send(self, message: Any) -> None:
        self.sent.append(message)


def scope(path: str, *fields: tuple[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *fields],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


LENGTH = (b"content-length", b"9")
FIELDS = (LENGTH, (b"cookie", b"csrftoken=" + b"a" * 32), (b"content-type", b"application/x-www-form-urlencoded"))


async def test_a_stalled_body_is_a_request_timeout() -> None:
    client = Client(Worker(lambda _: None, asgi.default_application))
    client.send(LOGIN + FORM)
    await asyncio.sleep(0.1)
    assert client.received == b""
    client.idle_for(61)
    async with asyncio.timeout(10):
        await asyncio.gather(*client.worker.tasks)
    assert client.received.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in client.received


async def test_a_client_that_leaves_gets_nothing() -> None:
    requests = Requests(b"usern")
    requests.messages.put_nowait({"type": "http.disconnect"})
    async with asyncio.timeout(10):
        await StreamingHandler()(scope("/admin/login/", *FIELDS), requests.receive, requests.send)
    assert (requests.sent, requests.received) == ([], 2)


async def test_nothing_is_received_for_a_response_that_needs_no_body() -> None:
    requests = Requests(b"too early")
    async with asyncio.timeout(10):
        await StreamingHandler()(scope("/nothing", LENGTH), requests.receive, requests.send)
    assert requests.sent[0]["status"] == 404
    assert requests.received == 0


async def test_cancelling_the_handler_ends_the_thread_that_waits_for_the_body() -> None:
    requests = Requests(b"usern")
    handling = asyncio.create_task(StreamingHandler()(scope("/admin/login/", *FIELDS), requests.receive, requests.send))
    await requests.begun.wait()
    handling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await handling


async def test_bodies_beyond_the_limit_of_threads_are_read_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_handler, "MAX_STREAMED", 1)
    handler, stalled, other = StreamingHandler(), Requests(b"usern"), Requests(b"123456789", complete=True)
    waiting = asyncio.create_task(handler(scope("/admin/login/", *FIELDS), stalled.receive, stalled.send))
    await stalled.begun.wait()
    async with asyncio.timeout(10):
        await handler(scope("/nothing", LENGTH), other.receive, other.send)
        assert (other.sent[0]["status"], other.received) == (404, 1)
        stalled.messages.put_nowait({"type": "http.disconnect"})
        await waiting


async def test_the_error_of_receiving_the_body_is_raised_in_place_of_a_response() -> None:
    requests = Requests()

    async def receive() -> Any:
        raise BodyTooLarge("too large")

    with pytest.raises(BodyTooLarge):
        await StreamingHandler()(scope("/admin/login/", *FIELDS), receive, requests.send)
    assert requests.sent == []


async def test_the_body_is_read_in_pieces_of_any_size() -> None:
    requests = Requests(b"ab", b"", b"cdef", b"g", complete=True)
    body = BodyStream(requests.receive, asyncio.get_running_loop())
    file = await StreamingHandler().read_body(body)
    read = [await asyncio.to_thread(file.read, size) for size in (1, 3, 9, 9)]
    assert read == [b"a", b"bcd", b"efg", b""]


@pytest.mark.parametrize("sent", ["nothing", "the head", "a piece"])
async def test_a_file_is_closed_when_its_client_has_gone(sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO(bytes(1_000_000))
    monkeypatch.setattr(StreamingHandler, "get_response", lambda _self, _request: FileResponse(file))
    requests = Requests()
    left = ["nothing", "the head", "a piece"].index(sent)

    async def send(message: Any) -> None:
        if len(requests.sent) == left:
            raise ClientGone
        await requests.send(message)

    with pytest.raises(ClientGone):
        await StreamingHandler()(scope("/a-file", LENGTH), requests.receive, send)
    assert file.closed


@pytest.mark.parametrize(
    ("status", "is_known", "is_charged"),
    [(200, True, False), (500, True, False), (400, True, True), (429, True, True), (200, False, True)],
)
async def test_processor_time_is_free_for_an_identity_that_makes_no_error(
    status: int, is_known: bool, is_charged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def respond(_handler: StreamingHandler, request: Any) -> HttpResponse:
        request.user = User() if is_known else AnonymousUser()
        return HttpResponse(status=status)

    monkeypatch.setattr(StreamingHandler, "get_response", respond)
    budget, requests = PageBudget(lambda: 0.0), Requests()
    await StreamingHandler(budget=budget)(scope("/a-page", LENGTH), requests.receive, requests.send)
    assert requests.sent[0]["status"] == status
    assert len(budget) == is_charged
