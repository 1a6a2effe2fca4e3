"""One connection: requests are handled in order, however their bytes are divided, and timeouts are enforced."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import BadGateway, RequestTimeout
from routing.http import CLIENT_SECONDS, ClientGone, Request, Response
from routing.http1 import lifecycle
from routing.http1.chunk_scanner import MAX_CHUNKS
from routing.http1.request_parser import MAX_REQUESTS
from tests.http1_client import Client, RequestHandler, Worker

KEEP_ALIVE = 75.0
"""Of a Worker in these tests."""


def response(body: bytes, *fields: tuple[bytes, bytes], status: int = 200) -> Response:
    return Response(status, [(b"content-length", b"%d" % len(body)), *fields], body)


def echo_path(request: Request) -> Response:
    return response(request.path)


def get(path: bytes, *fields: bytes, version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"GET %b HTTP/%b" % (path, version), b"Host: h", *fields, b"", b""])


def post(body: bytes, *fields: bytes, path: bytes = b"/p", length: int | None = None) -> bytes:
    content_length = b"Content-Length: %d" % (len(body) if length is None else length)
    return b"\r\n".join([b"POST %b HTTP/1.1" % path, b"Host: h", content_length, *fields, b"", b""]) + body


def bodies(received: bytes) -> list[bytes]:
    """The bodies of complete responses."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        size = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        found.append(rest[:size])
        received = rest[size:]
    return found


class Recording(list[Request]):
    """A handler that records the requests it passes on to `handler`."""

    def __init__(self, handler: RequestHandler) -> None:
        super().__init__()
        self._handler = handler

    def __call__(self, request: Request) -> Any:
        self.append(request)
        return self._handler(request)


class Deferred:
    """A handler that responds when the test calls `respond`. `bodies` are the request bodies it has read."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []
        self.bodies: list[bytes] = []
        self.ends: list[str] = []
        self.waiting: dict[bytes, asyncio.Future[Response]] = {}

    def __call__(self, request: Request) -> Awaitable[Response]:
        self.paths.append(request.path)
        return self._respond(request)

    async def _respond(self, request: Request) -> Response:
        waiting = self.waiting.setdefault(request.path, asyncio.get_running_loop().create_future())
        if request.watch_disconnect:
            request.watch_disconnect()
        try:
            if request.body is not None:
                self.bodies.append(b"".join([chunk async for chunk in request.body]))
            return await waiting
        except ClientGone:
            self.ends.append("aborted")
            return response(b"incomplete", status=400)
        except RequestTimeout:
            self.ends.append("timed out")
            return response(b"too slow", status=408)
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise

    def respond(self, path: bytes) -> None:
        self.waiting[path].set_result(response(path))


class TestRequests:
    async def test_several_on_one_connection(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/1"), get(b"/2"), get(b"/1"))
        assert bodies(client.received) == [b"/1", b"/2", b"/1"]
        assert not client.transport.closed

    @given(st.lists(st.integers(1, 400), unique=True), st.integers(0, 2))
    def test_the_division_of_the_bytes_makes_no_difference(self, cuts: list[int], repeats: int) -> None:
        data = get(b"/1") + post(b"abc" * 10) + get(b"/2", b"X-A: b") * (repeats + 1)
        bounds = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]

        async def received() -> bytes:
            client = Client(Worker(echo_path))
            client.send(*(data[start:end] for start, end in pairwise(bounds)))
            return client.received

        assert bodies(asyncio.run(received())) == [b"/1", b"/p", *[b"/2"] * (repeats + 1)]

    async def test_a_cached_head_makes_an_equal_request(self) -> None:
        seen: list[Request] = []

        def handler(request: Request) -> Response:
            seen.append(request)
            return response(b"")

        worker = Worker(handler)
        first, second = Client(worker), Client(worker, peer="198.51.100.7")
        for client in (first, first, second):
            client.send(get(b"/a?b=c", b"Accept: x"))
        assert [(each.method, each.path, each.query, each.client) for each in seen] == [
            ("GET", b"/a", b"b=c", "192.0.2.1"),
            ("GET", b"/a", b"b=c", "192.0.2.1"),
            ("GET", b"/a", b"b=c", "198.51.100.7"),
        ]
        assert seen[0].headers == seen[1].headers == [(b"host", b"h"), (b"accept", b"x")]
        assert seen[0] is not seen[1]

    async def test_two_heads_in_one_read_are_not_cached_as_one(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/1") + get(b"/2"), get(b"/1") + get(b"/2"))
        assert bodies(client.received) == [b"/1", b"/2", b"/1", b"/2"]

    async def test_a_head_and_half_of_the_next_are_not_cached_as_one(self) -> None:
        client = Client(Worker(echo_path))
        for _ in range(2):
            client.send(get(b"/1") + get(b"/2")[:10], get(b"/2")[10:])
        assert bodies(client.received) == [b"/1", b"/2", b"/1", b"/2"]

    async def test_the_host_of_an_absolute_target_replaces_the_host_field(self) -> None:
        """RFC 9112 section 3.2.2."""
        seen = Recording(echo_path)
        client = Client(Worker(seen))
        client.send(get(b"http://other:81/a?b"))
        assert (seen[0].path, seen[0].query) == (b"/a", b"b")
        assert seen[0].headers == [(b"host", b"other:81")]

    async def test_a_fragment_is_removed(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/a#b"))
        assert bodies(client.received) == [b"/a"]

    async def test_trailer_fields_are_not_merged_into_the_head(self) -> None:
        """RFC 9110 section 6.5.1: merged, they would bypass the checks of the head."""
        deferred = Deferred()
        requests = Recording(deferred)
        client = Client(Worker(requests))
        client.send(b"POST /t HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
        await client.settle()
        assert deferred.bodies == [b"abc"]
        assert requests[0].headers == [(b"host", b"h"), (b"transfer-encoding", b"chunked")]
        client.disconnect()
        await client.settle()


class TestOrder:
    async def test_a_pipelined_request_waits_for_the_response_before_it(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(get(b"/1") + get(b"/2"))
        await client.settle()
        assert deferred.paths == [b"/1"]
        assert not client.transport.reading
        deferred.respond(b"/1")
        await client.settle()
        assert (deferred.paths, bodies(client.received)) == ([b"/1", b"/2"], [b"/1"])
        deferred.respond(b"/2")
        await client.settle()
        assert bodies(client.received) == [b"/1", b"/2"]
        assert client.transport.reading

    async def test_many_pipelined_requests_let_others_have_their_turn(self) -> None:
        client, count = Client(Worker(echo_path)), 3 * MAX_REQUESTS + 1
        client.send(b"".join(get(b"/%d" % number) for number in range(count)))
        assert len(bodies(client.received)) == MAX_REQUESTS
        assert not client.transport.reading
        await client.settle()
        assert bodies(client.received) == [b"/%d" % number for number in range(count)]
        assert client.transport.reading

    async def test_many_pipelined_requests_wait_for_a_slow_response(self) -> None:
        deferred, paths = Deferred(), [b"/%d" % number for number in range(3 * MAX_REQUESTS)]
        client = Client(Worker(deferred))
        client.send(b"".join(map(get, paths)))
        await client.settle()
        assert len(client.connection._queue) < 2 * MAX_REQUESTS
        assert not client.transport.reading
        for path in paths:
            deferred.respond(path)
            await client.settle()
        assert bodies(client.received) == paths
        assert client.transport.reading

    async def test_requests_behind_the_last_of_many_are_ignored(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/1") * MAX_REQUESTS + get(b"/2", b"Connection: close") + get(b"/3") * MAX_REQUESTS)
        await client.settle()
        assert bodies(client.received) == [b"/1"] * MAX_REQUESTS + [b"/2"]
        assert client.transport.closed

    async def test_a_body_in_many_small_chunks_is_read_whole(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        body = b"1\r\na\r\n" * 3 * MAX_CHUNKS + b"0\r\n\r\n"
        client.send(b"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body + get(b"/2"))
        assert not client.transport.reading
        await client.settle()
        assert deferred.bodies == [b"a" * 3 * MAX_CHUNKS]
        deferred.respond(b"/1")
        await client.settle()
        deferred.respond(b"/2")
        await client.settle()
        assert bodies(client.received) == [b"/1", b"/2"]
        assert client.transport.reading

    async def test_a_websocket_may_follow_many_requests(self) -> None:
        worker = Worker(echo_path)
        client = Client(worker)
        upgrade = get(b"/ws", b"Upgrade: websocket", b"Connection: Upgrade")
        client.send(get(b"/1") * (MAX_REQUESTS + 1) + upgrade + b"frames")
        await client.settle()
        assert bodies(client.received) == [b"/1"] * (MAX_REQUESTS + 1)
        assert worker.upgraded_data[0].endswith(b"\r\n\r\nframes")
        assert client.transport.reading

    async def test_no_request_is_handled_while_the_write_buffer_is_full(self) -> None:
        client = Client(Worker(echo_path))
        client.connection.pause_writing()
        client.send(get(b"/1") * 3)
        assert client.received == b""
        assert not client.transport.reading
        client.connection.resume_writing()
        assert bodies(client.received) == [b"/1"] * 3

    async def test_input_after_the_last_request_is_ignored(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/1", b"Connection: close") + get(b"/2"))
        assert bodies(client.received) == [b"/1"]
        assert b"\r\nconnection: close\r\n" in client.received
        assert client.transport.closed

    async def test_http_1_0_closes_without_keep_alive(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/1", b"Connection: keep-alive", version=b"1.0"))
        assert b"\r\nconnection: keep-alive\r\n" in client.received
        assert not client.transport.closed
        client.send(get(b"/1", version=b"1.0"))
        assert client.transport.closed


class TestBodies:
    async def test_a_body_is_read_as_it_arrives(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(post(b"", length=6), b"abc")
        await client.settle()
        client.send(b"def")
        await client.settle()
        assert deferred.bodies == [b"abcdef"]
        deferred.respond(b"/p")
        await client.settle()
        assert bodies(client.received) == [b"/p"]
        assert not client.transport.closed

    async def test_reading_is_paused_while_the_body_is_not_read(self) -> None:
        released = asyncio.Event()
        read: list[int] = []

        async def handler(request: Request) -> Response:
            await released.wait()
            assert request.body is not None
            read.extend([len(chunk) async for chunk in request.body])
            return response(b"")

        client = Client(Worker(handler))
        client.send(post(b"", length=200_000), b"x" * 100_000)
        await client.settle()
        assert not client.transport.reading
        released.set()
        await client.settle()
        assert client.transport.reading
        client.send(b"x" * 100_000)
        await client.settle()
        assert sum(read) == 200_000

    async def test_100_continue_is_sent_when_the_body_is_read(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(post(b"", b"Expect: 100-continue", length=3))
        await client.settle()
        assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"abc")
        deferred.respond(b"/p")
        await client.settle()
        assert deferred.bodies == [b"abc"]
        assert not client.transport.closed

    async def test_a_response_instead_of_100_continue_closes_the_connection(self) -> None:
        """RFC 9110 section 10.1.1: it is unknown whether the body follows."""
        client = Client(Worker(echo_path))
        client.send(post(b"", b"Expect: 100-continue", length=3))
        assert b"\r\nconnection: close\r\n" in client.received
        assert client.transport.eof_written
        client.send(get(b"/2"))
        assert bodies(client.received) == [b"/p"]

    async def test_the_rest_of_a_short_body_that_is_not_read_is_drained(self) -> None:
        client = Client(Worker(echo_path))
        client.send(post(b"", length=60_000), b"x" * 60_000, get(b"/2"))
        assert bodies(client.received) == [b"/p", b"/2"]
        assert not client.transport.closed

    @pytest.mark.parametrize("framing", [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"])
    async def test_the_rest_of_a_long_body_leads_to_a_lingering_close(self, framing: bytes) -> None:
        """Closed at once, a reset could make the client lose the response (RFC 9112 section 9.6)."""
        client = Client(Worker(echo_path))
        client.send(b"POST /p HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
        assert bodies(client.received) == [b"/p"]
        assert b"\r\nconnection: close\r\n" in client.received
        assert client.transport.eof_written
        assert not client.transport.closed
        start = client.worker.ticker.now
        for second in range(int(lifecycle.LINGER_SECONDS) + 2):  # however much data follows
            client.worker.ticker.now = start + second
            client.send(b"x" * 1_000_000)
            client.connection.check_timeouts(client.worker.ticker.now)
        assert client.transport.aborted

    async def test_a_malformed_chunk_aborts_the_request_and_closes_the_connection(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n")
        await client.settle()
        assert deferred.ends == ["aborted"]
        assert b"HTTP/1.1 400" in client.received
        assert client.transport.eof_written


class TestErrors:
    @pytest.mark.parametrize(
        "data",
        [
            b"nonsense\r\n\r\n",
            b"GET / HTTP/1.1\nHost: h\n\n",
            b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET /\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n",
        ],
    )
    async def test_malformed_data_is_a_400_and_what_follows_is_ignored(self, data: bytes) -> None:
        handled = Recording(echo_path)
        client = Client(Worker(handled))
        client.send(data + get(b"/2"), get(b"/3"))
        assert client.received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b'"code":"bad_request"' in client.received
        assert handled == []
        assert client.transport.eof_written

    async def test_the_error_follows_the_responses_to_earlier_requests(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(get(b"/1") + b"nonsense\r\n\r\n")
        await client.settle()
        assert client.received == b""
        deferred.respond(b"/1")
        await client.settle()
        first, second = client.received.split(b"HTTP/1.1 ")[1:]
        assert first.startswith(b"200")
        assert second.startswith(b"400")

    async def test_an_endless_head_is_a_431(self) -> None:
        client = Client(Worker(echo_path))
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n", *[b"X: " + b"a" * 1_000 + b"\r\n"] * 100)
        assert client.received.startswith(b"HTTP/1.1 431 ")

    async def test_an_endless_field_is_a_431(self) -> None:
        client = Client(Worker(echo_path))
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: ", *[b"a" * 10_000] * 10)
        assert client.received.startswith(b"HTTP/1.1 431 ")

    async def test_an_endless_target_is_a_414(self) -> None:
        client = Client(Worker(echo_path))
        client.send(b"GET /", *[b"a" * 10_000] * 10)
        assert client.received.startswith(b"HTTP/1.1 414 ")

    async def test_a_response_that_cannot_be_encoded_is_a_500(self, caplog: pytest.LogCaptureFixture) -> None:
        client = Client(Worker(lambda _: response(b"", (b"x", b"a\r\nset-cookie: b"))))
        client.send(get(b"/1"))
        assert client.received.startswith(b"HTTP/1.1 500 ")
        assert b"set-cookie" not in client.received
        assert "could not be encoded" in caplog.text

    @pytest.mark.parametrize("streams", [False, True])
    async def test_a_response_that_cannot_be_encoded_keeps_its_request_id(self, streams: bool) -> None:
        async def chunks() -> AsyncGenerator[bytes, None]:
            yield b"never sent"

        fields = [(b"x", b"a\r\nset-cookie: b"), (b"x-request-id", b"id-1")]
        client = Client(Worker(lambda _: Response(200, fields, chunks() if streams else b"")))
        client.send(get(b"/1"))
        await client.settle()
        head, _, body = client.received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"x-request-id: id-1" in head.split(b"\r\n")
        assert b'"request_id":"id-1"' in body

    @pytest.mark.parametrize("sent", [b"FOO\r\n\r\n", b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", get(b"/", b"X: \x00")])
    async def test_a_request_that_cannot_be_read_has_an_id(self, sent: bytes) -> None:
        client = Client(Worker(echo_path))
        client.send(sent)
        head, _, body = client.received.partition(b"\r\n\r\n")
        (identifier,) = (line[14:] for line in head.split(b"\r\n") if line.startswith(b"x-request-id: "))
        assert b'"request_id":"%b"' % identifier in body


class TestUpgrades:
    SOCKET = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: k")

    async def test_a_websocket_takes_over_the_connection(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/1"), get(b"/ws?a", *self.SOCKET) + b"first frame")
        assert bodies(client.received) == [b"/1"]
        data = client.worker.upgraded_data[0]
        assert data.startswith(b"GET /ws?a HTTP/1.1\r\nhost: h\r\n")
        assert data.endswith(b"\r\n\r\nfirst frame")
        assert client.worker.connections == set()

    @pytest.mark.parametrize(
        "options", [(b"keep-alive", b"Upgrade"), (b"Upgrade", b"keep-alive"), (b"a,b", b"UPGRADE")]
    )
    async def test_the_option_may_be_in_any_line_of_connection(self, options: tuple[bytes, ...]) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/ws", *self.SOCKET[1:], *(b"Connection: " + option for option in options)))
        assert len(client.worker.upgraded_data) == 1

    async def test_a_websocket_is_refused_while_an_earlier_request_is_handled(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(get(b"/1") + get(b"/ws", *self.SOCKET))
        await client.settle()
        deferred.respond(b"/1")
        await client.settle()
        assert client.worker.upgraded_data == []
        assert b"HTTP/1.1 400 " in client.received

    async def test_any_other_protocol_is_declined_by_ignoring_the_upgrade(self) -> None:
        """Java's client offers h2c this way, with a body (RFC 9110 section 7.8)."""
        deferred = Deferred()
        seen = Recording(deferred)
        client = Client(Worker(seen))
        offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAB")
        client.send(post(b"abc", *offer) + get(b"/2", *offer))
        await client.settle()
        deferred.respond(b"/p")
        await client.settle()
        deferred.respond(b"/2")
        await client.settle()
        assert bodies(client.received) == [b"/p", b"/2"]
        assert deferred.bodies == [b"abc"]
        assert [name for name, _ in seen[0].headers] == [b"host", b"content-length"]

    async def test_close_is_kept_when_an_upgrade_is_declined(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/1", b"Connection: Upgrade, close", b"Upgrade: h2c") + get(b"/2"))
        assert bodies(client.received) == [b"/1"]
        assert b"connection: close" in client.received
        assert client.transport.closed

    async def test_too_many_upgrades_in_one_read_are_a_400(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/1", b"Connection: Upgrade", b"Upgrade: a") * 5_000)
        assert b"HTTP/1.1 400 " in client.received
        assert client.received.count(b"HTTP/1.1 200 ") < 10
        assert client.transport.eof_written

    async def test_http_1_0_cannot_upgrade(self) -> None:
        """RFC 9110 section 7.8."""
        client = Client(Worker(echo_path))
        client.send(get(b"/1", *self.SOCKET, b"Connection: keep-alive", version=b"1.0"))
        assert bodies(client.received) == [b"/1"]
        assert client.worker.upgraded_data == []

    async def test_an_unsupported_version_cannot_upgrade(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/1", *self.SOCKET, version=b"2.0"))
        assert client.received.startswith(b"HTTP/1.1 400 ")
        assert client.worker.upgraded_data == []


class TestStreams:
    async def streamed(self, chunks: AsyncIterator[bytes], request: bytes = get(b"/s"), *fields: Any) -> Client:
        client = Client(Worker(lambda _: Response(200, list(fields), chunks)))  # type: ignore[arg-type]
        client.send(request)
        await client.settle()
        return client

    async def test_each_chunk_is_sent_as_it_comes(self) -> None:
        more = asyncio.Event()

        async def chunks() -> AsyncIterator[bytes]:
            yield b"a"
            await more.wait()
            yield b"b"

        client = await self.streamed(chunks())
        assert client.received.endswith(b"1\r\na\r\n")
        more.set()
        await client.settle()
        assert client.received.endswith(b"1\r\nb\r\n0\r\n\r\n")
        assert not client.transport.closed

    async def test_no_faster_than_the_client_reads(self) -> None:
        produced: list[int] = []

        async def chunks() -> AsyncIterator[bytes]:
            for number in range(3):
                produced.append(number)
                yield b"x"

        client = Client(Worker(lambda _: Response(200, [], chunks())))  # type: ignore[arg-type]
        client.send(get(b"/s"))
        client.connection.pause_writing()
        await client.settle()
        assert produced == [0]
        client.connection.resume_writing()
        await client.settle()
        assert produced == [0, 1, 2]

    @pytest.mark.parametrize("fields", [(), ((b"content-length", b"5"),)])
    async def test_a_response_that_breaks_off_does_not_look_complete(self, fields: Any) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"ab"
            raise BadGateway("cut")

        client = await self.streamed(chunks(), get(b"/s"), *fields)
        assert b"ab" in client.received
        assert not client.received.endswith(b"0\r\n\r\n")
        assert client.transport.closed

    async def test_a_close_delimited_response_that_breaks_off_resets_the_connection(self) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"ab"
            raise BadGateway("cut")

        client = await self.streamed(chunks(), get(b"/s", version=b"1.0"))
        assert client.transport.aborted

    async def test_a_disconnect_ends_the_stream(self) -> None:
        ended = asyncio.Event()

        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x"
                    await asyncio.sleep(0)
            finally:
                ended.set()

        client = await self.streamed(chunks())
        client.disconnect()
        await asyncio.wait_for(ended.wait(), 5)
        await client.settle()
        assert client.worker.tasks == set()

    async def test_a_disconnect_before_the_last_chunk_is_no_error(self, caplog: pytest.LogCaptureFixture) -> None:
        gone = asyncio.Event()

        async def chunks() -> AsyncIterator[bytes]:
            yield b"x"
            await gone.wait()

        client = await self.streamed(chunks())
        client.disconnect()
        gone.set()
        await client.settle()
        assert client.worker.tasks == set()
        assert caplog.records == []


class TestDisconnectsAndTimeouts:
    async def test_a_disconnect_cancels_the_handler(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(get(b"/1"))
        await client.settle()
        client.disconnect()
        await client.settle()
        assert deferred.ends == ["cancelled"]
        assert client.worker.connections == set()

    async def test_a_disconnect_before_the_body_is_complete_ends_the_handler(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(post(b"ab", length=5))
        await client.settle()
        client.disconnect()
        await client.settle()
        assert deferred.ends in (["aborted"], ["cancelled"])
        assert client.worker.tasks == set()

    @pytest.mark.parametrize("handled", ["responds", "streams", "raises", "reads"])
    async def test_a_handler_that_ends_after_the_client_has_gone_writes_nothing(
        self, handled: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        gone, ended = asyncio.Event(), asyncio.Event()

        async def chunks() -> AsyncGenerator[bytes, None]:
            yield b"x"

        async def handler(request: Request) -> Response:
            await gone.wait()
            ended.set()
            if handled == "raises":
                raise ValueError("logged once")
            if handled == "reads" and request.body is not None:
                return response(b"".join([chunk async for chunk in request.body]))
            return response(b"late") if handled == "responds" else Response(200, [], chunks())

        client = Client(Worker(handler))
        client.send(post(b"", b"Expect: 100-continue", length=5))
        await client.settle()
        client.disconnect()
        gone.set()
        await client.settle()
        assert ended.is_set()
        assert client.received == b""
        assert client.worker.tasks == set()
        assert [each.exc_text for each in caplog.records if "handler is closed" in (each.exc_text or "")] == []
        assert len(caplog.records) == (handled == "raises")

    @pytest.mark.parametrize("seconds", [KEEP_ALIVE, 620.0])
    async def test_an_idle_connection_is_closed(self, seconds: float) -> None:
        client = Client(Worker(echo_path))
        client.worker.keep_alive = seconds
        client.send(get(b"/1"))
        client.idle_for(seconds - 1)
        assert not client.transport.closed
        client.idle_for(seconds + 1)
        assert client.transport.closed

    async def test_a_slow_head_times_out(self) -> None:
        client = Client(Worker(echo_path))
        client.send(get(b"/1"))
        start = client.worker.ticker.now
        for second in range(int(lifecycle.HEAD_SECONDS) + 2):
            client.worker.ticker.now = start + second
            client.connection.check_timeouts(client.worker.ticker.now)
            client.send(get(b"/2", *[b"X: y"] * 40)[second : second + 1])
        assert client.transport.closed

    async def test_a_stalled_body_times_out(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(post(b"ab", length=5))
        await client.settle()
        client.idle_for(CLIENT_SECONDS - 1)
        assert deferred.ends == []
        client.idle_for(CLIENT_SECONDS + 1)
        await client.settle()
        assert deferred.ends == ["timed out"]
        assert client.received.startswith(b"HTTP/1.1 408 ")
        assert client.transport.eof_written

    async def test_a_response_has_no_timeout(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(get(b"/1"))
        await client.settle()
        client.idle_for(10 * KEEP_ALIVE)
        deferred.respond(b"/1")
        await client.settle()
        assert bodies(client.received) == [b"/1"]

    async def test_shutdown_finishes_requests_in_flight_and_closes_idle_connections(self) -> None:
        deferred = Deferred()
        worker = Worker(deferred)
        idle, busy = Client(worker), Client(worker)
        idle.send(get(b"/0"))
        busy.send(get(b"/1"))
        await busy.settle()
        deferred.respond(b"/0")
        await busy.settle()
        worker.draining = worker.stopping = True
        worker.ticker.now += lifecycle.SHUTDOWN_SECONDS + 0.1
        for client in (idle, busy):
            client.connection.shutdown()
        assert idle.transport.closed
        assert not busy.transport.closed
        deferred.respond(b"/1")
        await busy.settle()
        assert bodies(busy.received) == [b"/1"]
        assert b"connection: close" in busy.received
        assert busy.transport.closed

    @pytest.mark.parametrize("received", [b"", b"GE", b"GET /1 HTTP/1.1\r\nHost: h"])
    async def test_shutdown_waits_for_the_request_that_a_connection_was_made_for(self, received: bytes) -> None:
        request = get(b"/1")
        worker = Worker(echo_path)
        client = Client(worker)
        if received:
            client.send(received)
        worker.draining = worker.stopping = True
        client.connection.shutdown()
        client.idle_for(lifecycle.SHUTDOWN_SECONDS)
        assert not client.transport.closed
        client.send(request.removeprefix(received))
        await client.settle()
        assert bodies(client.received) == [b"/1"]
        assert b"connection: close" in client.received
        assert client.transport.closed

    @pytest.mark.parametrize("received", [b"", b"GET /1 HTTP/1.1\r\n"])
    async def test_shutdown_does_not_wait_for_long(self, received: bytes) -> None:
        worker = Worker(echo_path)
        client = Client(worker)
        if received:
            client.send(received)
        worker.draining = worker.stopping = True
        client.connection.shutdown()
        client.idle_for(lifecycle.SHUTDOWN_SECONDS + 0.1)
        assert client.transport.closed

    async def test_shutdown_waits_for_the_next_request_of_a_connection_in_use(self) -> None:
        worker = Worker(echo_path)
        used, silent = Client(worker), Client(worker)
        for client in (used, silent):
            client.send(get(b"/1"))
        worker.draining = worker.stopping = True
        for client in (used, silent):
            client.connection.shutdown()
        used.send(get(b"/2"))
        assert bodies(used.received) == [b"/1", b"/2"]
        assert b"connection: close" in used.received
        assert used.transport.closed
        silent.idle_for(lifecycle.SHUTDOWN_SECONDS + 0.1)
        assert silent.transport.closed

    @pytest.mark.parametrize("is_stopping", [False, True])
    async def test_a_connection_with_a_request_that_was_not_read_yet_is_not_closed(self, is_stopping: bool) -> None:
        worker = Worker(echo_path)
        client = Client(worker)
        client.send(get(b"/1"))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            client.transport._extra["socket"] = ours  # type: ignore[attr-defined]
            theirs.send(get(b"/2"))
            worker.draining = worker.stopping = is_stopping
            worker.ticker.now += 10 * KEEP_ALIVE
            if is_stopping:
                client.connection.shutdown()
            client.idle_for(0)
            assert not client.transport.closed
            client.send(ours.recv(1_000))
            assert bodies(client.received) == [b"/1", b"/2"]
            client.idle_for(10 * KEEP_ALIVE)
            assert client.transport.closed

    async def test_a_connection_to_a_stopping_worker_serves_one_request(self) -> None:
        worker = Worker(echo_path)
        worker.draining = worker.stopping = True
        silent, client = Client(worker), Client(worker)
        for each in (silent, client):
            each.connection.shutdown()
        client.send(get(b"/1") + get(b"/2"))
        await client.settle()
        assert bodies(client.received) == [b"/1"]
        assert client.transport.closed
        silent.idle_for(lifecycle.SHUTDOWN_SECONDS + 0.1)
        assert silent.transport.closed

    async def test_shutdown_does_not_end_a_lingering_close(self) -> None:
        client = Client(Worker(echo_path))
        client.send(b"nonsense\r\n\r\n")
        client.connection.shutdown()
        assert not client.transport.closed
        client.idle_for(lifecycle.LINGER_SECONDS + 0.1)
        assert client.transport.aborted

    async def test_shutdown_during_the_last_request_sends_its_response(self) -> None:
        deferred = Deferred()
        client = Client(Worker(deferred))
        client.send(get(b"/1", b"Connection: close"))
        await client.settle()
        client.connection.shutdown()
        deferred.respond(b"/1")
        await client.settle()
        assert bodies(client.received) == [b"/1"]
        assert client.transport.closed

    async def test_the_repr_shows_the_state(self) -> None:
        client = Client(Worker(echo_path))
        assert repr(client.connection) == "<Connection [192.0.2.1, NEW, queued: 0]>"
        client.send(b"nonsense\r\n\r\n")
        assert repr(client.connection) == "<Connection [192.0.2.1, LINGERING, queued: 0]>"
