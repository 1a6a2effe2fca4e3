"""The parts of the abuse benchmark: requests, responses, and the report with its bounds."""

import asyncio
from collections import Counter

import pytest

from benchmarks import abuse, abusers
from benchmarks.abuse import Observed, Windows
from benchmarks.abusers import Target

REST = {"hit": Windows([0.001] * 3, 0), "miss": Windows([0.002] * 3, 0)}


def observed(*resident: int, circuits: frozenset[str] = frozenset()) -> Observed:
    return Observed(set(circuits), list(resident))


def test_all_bounds_are_met() -> None:
    text, met = abuse.section(REST, REST, observed(100, 105), 0)
    assert met
    assert "fail" not in text


@pytest.mark.parametrize(
    ("windows", "seen", "in_flight"),
    [
        ({**REST, "hit": Windows([0.001, 0.0021, 0.0021], 0)}, observed(100), 0),
        ({**REST, "miss": Windows([0.002], 1)}, observed(100), 0),
        ({**REST, "hit": Windows([], 1)}, observed(100), 0),
        (REST, observed(90, 100, 100, 111), 0),
        (REST, observed(100, circuits=frozenset({"bench"})), 0),
        (REST, observed(100), 1),
    ],
)
def test_each_bound_can_be_missed(windows: dict[str, Windows], seen: Observed, in_flight: int) -> None:
    text, met = abuse.section(REST, windows, seen, in_flight)
    assert not met
    assert "**fail**" in text


def test_responses_are_listed_by_kind() -> None:
    text = abuse.responses(Counter({("login", 200): 3, ("login", 0): 1}))
    assert "1 x lost, 3 x 200" in text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, True)),
        (b"HTTP/1.1 429 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", (429, True)),
        (b"HTTP/1.1 408 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", (408, False)),
    ],
)
async def test_responses_are_read_to_their_end(data: bytes, expected: tuple[int, bool]) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(data + b"next")
    assert await abusers.read_response(reader) == expected
    assert await reader.readexactly(4) == b"next"


async def test_every_kind_of_abuse_connects_and_counts() -> None:
    """Against a server that refuses everything: lost and refused connections are replaced."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    made = abusers.Abusers(Target(server.sockets[0].getsockname()[1], "key"))
    running = asyncio.create_task(made.run())
    kinds = {"dripping upload", "long X-Forwarded-For", "topic patterns", *abusers.floods("key")}
    async with server, asyncio.timeout(30):
        while not kinds <= {kind for kind, status in made.counts if status == 503}:
            assert not running.done()
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.wait((running,))
