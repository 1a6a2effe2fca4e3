"""One connection: requests in order, however their bytes come; and an end to what waits for too long."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import BadGateway
from routing.http import ClientGone, Request, Response
from routing.http1 import connection as rules
from tests.http1_client import Client, RequestHandler, Worker


def answered(body: bytes, *fields: tuple[bytes, bytes], status: int = 200) -> Response:
    return Response(status, [(b"content-length", b"%d" % len(body)), *fields], body)


def by_path(request: Request) -> Response:
    return answered(request.path)


def get(path: bytes, *fields: bytes, version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"GET %b HTTP/%b" % (path, version), b"Host: h", *fields, b"", b""])


def post(body: bytes, *fields: bytes, path: bytes = b"/p", length: int | None = None) -> bytes:
    told = b"Content-Length: %d" % (len(body) if length is None else length)
    return b"\r\n".join([b"POST %b HTTP/1.1" % path, b"Host: h", told, *fields, b"", b""]) + body


def bodies(received: bytes) -> list[bytes]:
    """Of whole answers one behind the other."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        size = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        found.append(rest[:size])
        received = rest[size:]
    return found


class Noted(list[Request]):
    """The requests that `answer` was asked, in order."""

    def __init__(self, answer: RequestHandler) -> None:
        super().__init__()
        self._answer = answer

    def __call__(self, request: Request) -> Any:
        self.append(request)
        return self._answer(request)


class Later:
    """Answers that are given when the test says so; `bodies` is what was read of each request's body."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.bodies: list[bytes] = []
        self.ends: list[str] = []
        self.waiting: dict[bytes, asyncio.Future[Response]] = {}

    def __call__(self, request: Request) -> Awaitable[Response]:
        self.asked.append(request.path)
        return self._answer(request)

    async def _answer(self, request: Request) -> Response:
        waiting = self.waiting.setdefault(request.path, asyncio.get_running_loop().create_future())
        if request.watch_disconnect:
            request.watch_disconnect()
        try:
            if request.body is not None:
                self.bodies.append(b"".join([piece async for piece in request.body]))
            return await waiting
        except ClientGone:
            self.ends.append("gone")
            return answered(b"broken", status=400)
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise

    def give(self, path: bytes) -> None:
        self.waiting[path].set_result(answered(path))


class TestRequests:
    async def test_one_after_the_other_on_one_connection(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/1"), get(b"/2"), get(b"/1"))
        assert bodies(client.received) == [b"/1", b"/2", b"/1"]
        assert not client.transport.closed

    @given(st.lists(st.integers(1, 400), unique=True), st.integers(0, 2))
    def test_the_same_however_the_bytes_are_cut(self, cuts: list[int], repeats: int) -> None:
        data = get(b"/1") + post(b"abc" * 10) + get(b"/2", b"X-A: b") * (repeats + 1)
        places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]

        async def pieces() -> bytes:
            client = Client(Worker(by_path))
            client.send(*(data[start:end] for start, end in pairwise(places)))
            return client.received

        assert bodies(asyncio.run(pieces())) == [b"/1", b"/p", *[b"/2"] * (repeats + 1)]

    async def test_a_head_that_came_before_is_the_same_request(self) -> None:
        seen: list[Request] = []

        def answer(request: Request) -> Response:
            seen.append(request)
            return answered(b"")

        worker = Worker(answer)
        first, second = Client(worker), Client(worker, peer="198.51.100.7")
        for client in (first, first, second):
            client.send(get(b"/a?b=c", b"Accept: x"))
        assert [(it.method, it.path, it.query, it.client) for it in seen] == [
            ("GET", b"/a", b"b=c", "192.0.2.1"),
            ("GET", b"/a", b"b=c", "192.0.2.1"),
            ("GET", b"/a", b"b=c", "198.51.100.7"),
        ]
        assert seen[0].headers == seen[1].headers == [(b"host", b"h"), (b"accept", b"x")]
        assert seen[0] is not seen[1]

    async def test_two_heads_at_once_are_not_remembered_as_one(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/1") + get(b"/2"), get(b"/1") + get(b"/2"))
        assert bodies(client.received) == [b"/1", b"/2", b"/1", b"/2"]

    async def test_a_head_and_half_of_the_next_are_not_remembered_as_one(self) -> None:
        client = Client(Worker(by_path))
        for _ in range(2):
            client.send(get(b"/1") + get(b"/2")[:10], get(b"/2")[10:])
        assert bodies(client.received) == [b"/1", b"/2", b"/1", b"/2"]

    async def test_the_target_s_own_host_is_the_one_that_counts(self) -> None:
        """RFC 9112 section 3.2.2."""
        seen = Noted(by_path)
        client = Client(Worker(seen))
        client.send(get(b"http://other:81/a?b"))
        assert (seen[0].path, seen[0].query) == (b"/a", b"b")
        assert seen[0].headers == [(b"host", b"other:81")]

    async def test_a_fragment_goes_no_further(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/a#b"))
        assert bodies(client.received) == [b"/a"]

    async def test_fields_behind_the_body_are_not_the_request_s(self) -> None:
        """RFC 9110 section 6.5.1: merged, they would get past whatever has looked at the head."""
        later = Later()
        requests = Noted(later)
        client = Client(Worker(requests))
        client.send(b"POST /t HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
        await client.settle()
        assert later.bodies == [b"abc"]
        assert requests[0].headers == [(b"host", b"h"), (b"transfer-encoding", b"chunked")]
        client.disconnect()
        await client.settle()


class TestOrder:
    async def test_what_comes_behind_one_that_takes_time_waits_for_its_turn(self) -> None:
        later = Later()
        client = Client(Worker(later))
        client.send(get(b"/1") + get(b"/2"))
        await client.settle()
        assert later.asked == [b"/1"]
        assert not client.transport.reading
        later.give(b"/1")
        await client.settle()
        assert (later.asked, bodies(client.received)) == ([b"/1", b"/2"], [b"/1"])
        later.give(b"/2")
        await client.settle()
        assert bodies(client.received) == [b"/1", b"/2"]
        assert client.transport.reading

    async def test_a_client_that_reads_nothing_is_answered_no_further(self) -> None:
        client = Client(Worker(by_path))
        client.connection.pause_writing()
        client.send(get(b"/1") * 3)
        assert client.received == b""
        assert not client.transport.reading
        client.connection.resume_writing()
        assert bodies(client.received) == [b"/1"] * 3

    async def test_after_the_last_request_nothing_is_heard(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/1", b"Connection: close") + get(b"/2"))
        assert bodies(client.received) == [b"/1"]
        assert b"\r\nconnection: close\r\n" in client.received
        assert client.transport.closed

    async def test_http_1_0_closes_unless_it_asks_to_stay(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/1", b"Connection: keep-alive", version=b"1.0"))
        assert b"\r\nconnection: keep-alive\r\n" in client.received
        assert not client.transport.closed
        client.send(get(b"/1", version=b"1.0"))
        assert client.transport.closed


class TestBodies:
    async def test_one_is_read_as_it_comes(self) -> None:
        later = Later()
        client = Client(Worker(later))
        client.send(post(b"", length=6), b"abc")
        await client.settle()
        client.send(b"def")
        await client.settle()
        assert later.bodies == [b"abcdef"]
        later.give(b"/p")
        await client.settle()
        assert bodies(client.received) == [b"/p"]
        assert not client.transport.closed

    async def test_the_client_is_held_back_while_nobody_reads(self) -> None:
        later = asyncio.Event()
        read: list[int] = []

        async def answer(request: Request) -> Response:
            await later.wait()
            assert request.body is not None
            read.extend([len(piece) async for piece in request.body])
            return answered(b"")

        client = Client(Worker(answer))
        client.send(post(b"", length=200_000), b"x" * 100_000)
        await client.settle()
        assert not client.transport.reading
        later.set()
        await client.settle()
        assert client.transport.reading
        client.send(b"x" * 100_000)
        await client.settle()
        assert sum(read) == 200_000

    async def test_a_client_that_waits_to_be_asked_is_asked_when_its_body_is_read(self) -> None:
        later = Later()
        client = Client(Worker(later))
        client.send(post(b"", b"Expect: 100-continue", length=3))
        await client.settle()
        assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"abc")
        later.give(b"/p")
        await client.settle()
        assert later.bodies == [b"abc"]
        assert not client.transport.closed

    async def test_one_that_was_refused_unasked_may_not_send_another_request_in_its_body_s_place(self) -> None:
        """RFC 9110 section 10.1.1: whether the body still comes, nobody knows."""
        client = Client(Worker(by_path))
        client.send(post(b"", b"Expect: 100-continue", length=3))
        assert b"\r\nconnection: close\r\n" in client.received
        assert client.transport.eof_written
        client.send(get(b"/2"))
        assert bodies(client.received) == [b"/p"]

    async def test_the_rest_of_a_short_one_that_nobody_wants_is_let_pass(self) -> None:
        client = Client(Worker(by_path))
        client.send(post(b"", length=60_000), b"x" * 60_000, get(b"/2"))
        assert bodies(client.received) == [b"/p", b"/2"]
        assert not client.transport.closed

    @pytest.mark.parametrize("framing", [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"])
    async def test_the_rest_of_a_long_one_is_not_waited_for_but_heard_for_a_while(self, framing: bytes) -> None:
        """Cut at once, the client would lose the answer to a reset (RFC 9112 section 9.6)."""
        client = Client(Worker(by_path))
        client.send(b"POST /p HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
        assert bodies(client.received) == [b"/p"]
        assert b"\r\nconnection: close\r\n" in client.received
        assert client.transport.eof_written
        assert not client.transport.closed
        begun = client.worker.ticker.now
        for second in range(int(rules.LINGER_SECONDS) + 2):  # however much it goes on to say
            client.worker.ticker.now = begun + second
            client.send(b"x" * 1_000_000)
            client.connection.check_timeouts(client.worker.ticker.now)
        assert client.transport.aborted

    async def test_a_chunk_that_is_none_ends_the_request_and_the_connection(self) -> None:
        later = Later()
        client = Client(Worker(later))
        client.send(b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n")
        await client.settle()
        assert later.ends == ["gone"]
        assert b"HTTP/1.1 400" in client.received
        assert client.transport.eof_written


class TestRefusals:
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
    async def test_what_is_no_request_is_told_so_and_nothing_behind_it_is_heard(self, data: bytes) -> None:
        asked = Noted(by_path)
        client = Client(Worker(asked))
        client.send(data + get(b"/2"), get(b"/3"))
        assert client.received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b'"code":"bad_request"' in client.received
        assert asked == []
        assert client.transport.eof_written

    async def test_it_is_told_after_the_answers_to_those_before_it(self) -> None:
        later = Later()
        client = Client(Worker(later))
        client.send(get(b"/1") + b"nonsense\r\n\r\n")
        await client.settle()
        assert client.received == b""
        later.give(b"/1")
        await client.settle()
        first, second = client.received.split(b"HTTP/1.1 ")[1:]
        assert first.startswith(b"200")
        assert second.startswith(b"400")

    async def test_a_head_without_an_end(self) -> None:
        client = Client(Worker(by_path))
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n", *[b"X: " + b"a" * 1_000 + b"\r\n"] * 100)
        assert client.received.startswith(b"HTTP/1.1 431 ")

    async def test_a_field_without_an_end(self) -> None:
        client = Client(Worker(by_path))
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: ", *[b"a" * 10_000] * 10)
        assert client.received.startswith(b"HTTP/1.1 431 ")

    async def test_a_target_without_an_end(self) -> None:
        client = Client(Worker(by_path))
        client.send(b"GET /", *[b"a" * 10_000] * 10)
        assert client.received.startswith(b"HTTP/1.1 414 ")

    async def test_an_answer_that_cannot_be_written_is_a_fault_of_ours(self, caplog: pytest.LogCaptureFixture) -> None:
        client = Client(Worker(lambda _: answered(b"", (b"x", b"a\r\nset-cookie: b"))))
        client.send(get(b"/1"))
        assert client.received.startswith(b"HTTP/1.1 500 ")
        assert b"set-cookie" not in client.received
        assert "could not be encoded" in caplog.text


class TestUpgrades:
    SOCKET = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: k")

    async def test_a_websocket_takes_the_connection_with_it(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/1"), get(b"/ws?a", *self.SOCKET) + b"first frame")
        assert bodies(client.received) == [b"/1"]
        taken = client.worker.upgraded_data[0]
        assert taken.startswith(b"GET /ws?a HTTP/1.1\r\nhost: h\r\n")
        assert taken.endswith(b"\r\n\r\nfirst frame")
        assert client.worker.connections == set()

    async def test_not_while_a_request_before_it_is_answered(self) -> None:
        later = Later()
        client = Client(Worker(later))
        client.send(get(b"/1") + get(b"/ws", *self.SOCKET))
        await client.settle()
        later.give(b"/1")
        await client.settle()
        assert client.worker.upgraded_data == []
        assert b"HTTP/1.1 400 " in client.received

    async def test_another_protocol_is_declined_by_answering_as_if_it_had_not_been_offered(self) -> None:
        """As Java's client offers h2c, with a body (RFC 9110 section 7.8)."""
        later = Later()
        seen = Noted(later)
        client = Client(Worker(seen))
        offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAB")
        client.send(post(b"abc", *offer) + get(b"/2", *offer))
        await client.settle()
        later.give(b"/p")
        await client.settle()
        later.give(b"/2")
        await client.settle()
        assert bodies(client.received) == [b"/p", b"/2"]
        assert later.bodies == [b"abc"]
        assert [name for name, _ in seen[0].headers] == [b"host", b"content-length"]

    async def test_a_client_that_offers_another_and_wants_to_close_is_closed(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/1", b"Connection: Upgrade, close", b"Upgrade: h2c") + get(b"/2"))
        assert bodies(client.received) == [b"/1"]
        assert b"connection: close" in client.received
        assert client.transport.closed

    async def test_a_flood_of_offers_is_ended(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/1", b"Connection: Upgrade", b"Upgrade: a") * 5_000)
        assert b"HTTP/1.1 400 " in client.received
        assert client.received.count(b"HTTP/1.1 200 ") < 10
        assert client.transport.eof_written

    async def test_http_1_0_cannot_ask_for_another(self) -> None:
        """RFC 9110 section 7.8."""
        client = Client(Worker(by_path))
        client.send(get(b"/1", *self.SOCKET, b"Connection: keep-alive", version=b"1.0"))
        assert bodies(client.received) == [b"/1"]
        assert client.worker.upgraded_data == []

    async def test_a_version_that_is_not_spoken_neither(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/1", *self.SOCKET, version=b"2.0"))
        assert client.received.startswith(b"HTTP/1.1 400 ")
        assert client.worker.upgraded_data == []


class TestStreams:
    async def streamed(self, chunks: AsyncIterator[bytes], request: bytes = get(b"/s"), *fields: Any) -> Client:
        client = Client(Worker(lambda _: Response(200, list(fields), chunks)))  # type: ignore[arg-type]
        client.send(request)
        await client.settle()
        return client

    async def test_each_piece_goes_as_it_comes(self) -> None:
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

    async def test_no_faster_than_the_client_takes_it(self) -> None:
        given_out: list[int] = []

        async def chunks() -> AsyncIterator[bytes]:
            for number in range(3):
                given_out.append(number)
                yield b"x"

        client = Client(Worker(lambda _: Response(200, [], chunks())))  # type: ignore[arg-type]
        client.send(get(b"/s"))
        client.connection.pause_writing()
        await client.settle()
        assert given_out == [0]
        client.connection.resume_writing()
        await client.settle()
        assert given_out == [0, 1, 2]

    @pytest.mark.parametrize("fields", [(), ((b"content-length", b"5"),)])
    async def test_one_that_breaks_off_does_not_look_whole(self, fields: Any) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"ab"
            raise BadGateway("cut")

        client = await self.streamed(chunks(), get(b"/s"), *fields)
        assert b"ab" in client.received
        assert not client.received.endswith(b"0\r\n\r\n")
        assert client.transport.closed

    async def test_one_that_only_the_connection_ends_is_reset_when_it_breaks_off(self) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"ab"
            raise BadGateway("cut")

        client = await self.streamed(chunks(), get(b"/s", version=b"1.0"))
        assert client.transport.aborted

    async def test_a_client_that_leaves_ends_it(self) -> None:
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


class TestEnds:
    async def test_a_client_that_leaves_takes_its_call_with_it(self) -> None:
        later = Later()
        client = Client(Worker(later))
        client.send(get(b"/1"))
        await client.settle()
        client.disconnect()
        await client.settle()
        assert later.ends == ["cancelled"]
        assert client.worker.connections == set()

    async def test_or_before_its_body_was_whole(self) -> None:
        later = Later()
        client = Client(Worker(later))
        client.send(post(b"ab", length=5))
        await client.settle()
        client.disconnect()
        await client.settle()
        assert later.ends in (["gone"], ["cancelled"])
        assert client.worker.tasks == set()

    async def test_a_connection_at_rest_is_closed_in_time(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/1"))
        client.idle_for(rules.KEEP_ALIVE_SECONDS - 1)
        assert not client.transport.closed
        client.idle_for(rules.KEEP_ALIVE_SECONDS + 1)
        assert client.transport.closed

    async def test_a_head_that_trickles_in_is_not_waited_for(self) -> None:
        client = Client(Worker(by_path))
        client.send(get(b"/1"))
        begun = client.worker.ticker.now
        for second in range(int(rules.HEAD_SECONDS) + 2):
            client.worker.ticker.now = begun + second
            client.connection.check_timeouts(client.worker.ticker.now)
            client.send(get(b"/2", *[b"X: y"] * 40)[second : second + 1])
        assert client.transport.closed

    async def test_a_body_that_falls_silent_is_not_waited_for(self) -> None:
        later = Later()
        client = Client(Worker(later))
        client.send(post(b"ab", length=5))
        await client.settle()
        client.idle_for(rules.BODY_SECONDS - 1)
        assert later.ends == []
        client.idle_for(rules.BODY_SECONDS + 1)
        await client.settle()
        assert later.ends == ["gone"]
        assert client.transport.eof_written

    async def test_an_answer_may_take_as_long_as_it_likes(self) -> None:
        later = Later()
        client = Client(Worker(later))
        client.send(get(b"/1"))
        await client.settle()
        client.idle_for(10 * rules.KEEP_ALIVE_SECONDS)
        later.give(b"/1")
        await client.settle()
        assert bodies(client.received) == [b"/1"]

    async def test_when_the_worker_stops_what_is_under_way_is_finished_and_the_rest_closed(self) -> None:
        later = Later()
        worker = Worker(later)
        idle, busy = Client(worker), Client(worker)
        busy.send(get(b"/1"))
        await busy.settle()
        for client in (idle, busy):
            client.connection.shutdown()
        assert idle.transport.closed
        assert not busy.transport.closed
        later.give(b"/1")
        await busy.settle()
        assert bodies(busy.received) == [b"/1"]
        assert b"connection: close" in busy.received
        assert busy.transport.closed
