"""Requests leave nothing behind that only the garbage collector could free: it stops the worker while it runs."""

import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from routing.router.policy import Auth, RoutePolicy, Target
from routing.router.table import Service
from tests.gateway.cache_steps import DOWN, NOT_MODIFIED, PATH, WITH_ETAG, policy, reply
from tests.gateway.conftest import QUICK, World, make_world

OF_REQUESTS = {"Exchange", "Request", "RequestCycle", "BackendCall", "CallStream", "CallRecord", "Flight"}
"""What each request makes. The client of these tests has cycles of its own."""
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
UNCACHED = RoutePolicy(timeout=QUICK, cache=None, auth=Auth.NONE)
CACHED = policy(ttl=10)


@pytest.fixture
async def server() -> AsyncIterator[World]:
    made = make_world("http1")
    yield made
    await made.close()


@contextmanager
def no_cycles() -> Iterator[None]:
    """Fails if only the collector could free objects that requests within the context have made."""
    gc.collect(1)
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect(1)
        names = Counter(type(each).__name__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert {name: number for name, number in names.items() if name in OF_REQUESTS} == {}


@pytest.mark.parametrize(
    ("route", "script", "method", "body"),
    [
        pytest.param(CACHED, WITH_ETAG, "GET", None, id="miss"),
        pytest.param(UNCACHED, WITH_ETAG, "GET", None, id="uncached"),
        pytest.param(UNCACHED, WITH_ETAG, "HEAD", None, id="HEAD"),
        pytest.param(UNCACHED, EARLY_HINTS + WITH_ETAG, "GET", None, id="interim response"),
        pytest.param(CACHED, CHUNKED, "GET", None, id="chunked and stored"),
        pytest.param(UNCACHED, CHUNKED, "GET", None, id="chunked"),
        pytest.param(UNCACHED, reply(body=b"x" * 300_000), "GET", None, id="streamed"),
        pytest.param(UNCACHED, reply(201), "POST", [b"abc", b"def"], id="upload"),
        pytest.param(CACHED, DOWN, "GET", None, id="failure"),
    ],
)
async def test_calls_leave_no_cycles(
    server: World, route: RoutePolicy, script: bytes, method: str, body: list[bytes] | None
) -> None:
    await server.serve(*[script] * 4, policy=route)
    with no_cycles():
        for number in range(3):
            await server.request(method, f"{PATH}/{number}", body=body)


@pytest.mark.parametrize("path", ["/api/v1/crm/x", "/api/v1/nothing/x", "/api/v1/away/x", "/api/v1/crm/%00"])
@pytest.mark.parametrize("key", [None, ""])
async def test_hits_and_refusals_leave_no_cycles(server: World, path: str, key: str | None) -> None:
    await server.serve(WITH_ETAG, NOT_MODIFIED, NOT_MODIFIED, policy=CACHED)
    server.add(Service("away", (Target("http://127.0.0.1:1"),), policy=RoutePolicy(timeout=QUICK, cache=None)))
    with no_cycles():
        for after in (0, 0, 11, 0):
            server.clock.advance(after)
            await server.request("GET", path, **({} if key is None else {"key": key}))
