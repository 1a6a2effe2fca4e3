"""The clients of the rolling restart count what was not answered."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.rolling.http_clients import Failure, HttpClients
from benchmarks.rolling.subscribers import StreamSubscriber, WebSocketSubscriber

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def clients_of(answers: list[bytes]) -> HttpClients:
    """The clients of a server that answers in turn, and closes the connection for an empty answer."""
    remaining, answering = iter(answers), set[asyncio.Task[None] | None]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError), contextlib.closing(writer):
            while (head := await reader.readuntil(b"\r\n\r\n")) and (response := next(remaining, OK)):
                if b"Content-Length: 64000" in head:
                    await reader.readexactly(64_000)
                writer.write(response)

    async with serving(answer) as address:
        clients, ended = HttpClients(address, "key"), asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, ended.set)
        await clients.run(100, ended)
        await asyncio.gather(*filter(None, answering))
    return clients


async def test_what_is_answered_by_200_has_not_failed() -> None:
    clients = await clients_of([])
    assert clients.outcome.failures == []
    assert set(clients.outcome.sent) == {"hit", "miss", "upload"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "status 503: "), (b"", "IncompleteReadError")],
)
async def test_what_is_refused_or_cut_has_failed(answer: bytes, reason: str) -> None:
    clients = await clients_of([answer])
    assert [failure.reason for failure in clients.outcome.failures] == [reason]


@pytest.mark.parametrize(
    ("sent_at", "failed_at", "expected"), [(1.0, 2.9, False), (1.0, 3.1, True), (3.5, 9.0, True), (4.1, 9.0, False)]
)
def test_a_request_was_in_flight_if_the_periods_overlap(sent_at: float, failed_at: float, *, expected: bool) -> None:
    assert Failure("hit", sent_at, failed_at, "").was_in_flight(3.0, 4.0) is expected


def test_a_websocket_subscriber_resumes_after_the_last_event() -> None:
    subscriber = WebSocketSubscriber()
    messages: list[dict[str, object]] = [
        {"type": "subscribed", "topics": ["news"], "last_id": "1-0"},
        {"type": "created", "topic": "news", "id": "2-0", "data": {"number": 7}},
        {"type": "gap", "last_id": "3-0"},
    ]
    for message in messages:
        subscriber.read(message)
    assert (dict(subscriber.seen), subscriber.gaps, subscriber.last_id) == ({7: 1}, 1, "3-0")


def test_a_stream_subscriber_resumes_after_the_last_event() -> None:
    subscriber, event_id = StreamSubscriber(), ""
    for line in (b"id: 2-0", b'data: {"type": "created", "topic": "news", "data": {"number": 7}}', b"", b": ping"):
        event_id = subscriber.read(line, event_id)
    assert (dict(subscriber.seen), subscriber.gaps, subscriber.last_id) == ({7: 1}, 0, "2-0")
