"""A kept connection that the target closes while a call is on its way, which is sent again if it has not arrived."""

import sys

import pytest

from routing.backend.client import Backend
from routing.backend.delivery import TransportState, was_closed_before
from routing.errors import BadGateway
from routing.http import Body
from tests.origin import Peer, ScriptedOrigin
from tests.routing.backend.calls import OK, call, chunks, fetch
from tests.routing.backend.crossing import Crossing

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell what has arrived")
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
BEFORE = TransportState(state=1, acknowledged=100, received=50)


class Source:
    """A body that can be read again, unless it is `once`."""

    waited = 0.0

    def __init__(self, *parts: bytes, once: bool = False) -> None:
        self._parts = parts
        self._once = once

    def restart(self) -> Body | None:
        return None if self._once else chunks(*self._parts)


@needs_linux
@pytest.mark.parametrize(
    ("method", "body", "last"),
    [("POST", b"", b""), ("PATCH", b"", TIMED_OUT), ("POST", b"some text", b""), ("PUT", b"some text", b"")],
)
async def test_a_call_that_has_not_arrived_is_sent_again(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, method: str, body: bytes, last: bytes
) -> None:
    crossing = Crossing(monkeypatch, OK, last)
    what = call(method, body=chunks(body) if body else None, length=len(body) if body else None)
    what.source = Source(body) if body else None

    async def respond(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(OK)

    async with ScriptedOrigin(crossing.keep, respond) as origin:
        await fetch(backend, origin, call("DELETE"))
        assert await fetch(backend, origin, what) == (200, b"ok")
    assert [request.body for request in origin.requests] == [b"", body]
    assert origin.connections == 2


@needs_linux
async def test_a_body_that_cannot_be_read_again_is_not_sent_in_part(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossing = Crossing(monkeypatch, OK)
    what = call("POST", body=chunks(b"ab"))
    what.source = Source(once=True)
    async with ScriptedOrigin(crossing.keep, OK) as origin:
        await fetch(backend, origin, call("DELETE"))
        with pytest.raises(BadGateway) as caught:
            await fetch(backend, origin, what)
    assert caught.value.unsent  # so that a retry may still send what it has
    assert len(origin.requests) == 1


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_call_that_was_read_is_not_sent_again(backend: Backend, end: str, method: str) -> None:
    async def read_and_leave(peer: Peer) -> None:
        getattr(peer, end)()

    async with ScriptedOrigin(OK, read_and_leave, OK) as origin:
        await fetch(backend, origin)
        with pytest.raises(BadGateway) as caught:
            await fetch(backend, origin, call(method))
    assert not caught.value.unsent
    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (TransportState(8, 100, 51), True),  # closed in order
        (TransportState(8, 100, 75), True),  # with TLS's close_notify before
        (TransportState(7, 100, 51), True),  # and reset by what was sent
        (TransportState(8, 101, 51), False),  # some of it has arrived
        (TransportState(7, 100, 50), False),  # reset only: it may have been read
        (TransportState(7, 140, 50), False),
        (TransportState(1, 100, 50), False),
        (None, False),
    ],
)
def test_what_shows_that_a_call_has_not_arrived(now: TransportState | None, expected: bool) -> None:
    assert was_closed_before(BEFORE, now) == expected
    assert not was_closed_before(None, now)
