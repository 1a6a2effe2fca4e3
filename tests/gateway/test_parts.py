"""Parts of a response are stored, combined and reused (RFC 9111 sections 3.3 and 3.4)."""

from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from resilience.cache.policy import CachePolicy
from routing.router.policy import RoutePolicy
from tests.gateway.cache_steps import PATH
from tests.gateway.conftest import QUICK, World
from tests.origin import Peer

WHOLE = b"0123456789"


def digest(content: bytes) -> str:
    return f"sha-256=:{b64encode(sha256(content).digest()).decode()}:"


class Ranges:
    """Responds with the range that is requested."""

    def __init__(self) -> None:
        self.etag = '"one"'
        self.whole = WHOLE
        self.seconds = 60
        self.requested: list[str] = []

    async def __call__(self, peer: Peer) -> None:
        await peer.read_body()
        method = peer.request.line.split(b" ")[0]
        if method == b"POST":
            await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        wanted = dict(peer.request.fields).get(b"range", b"").decode()
        self.requested.append(wanted)
        body, head = self.whole, "HTTP/1.1 200 OK\r\n"
        if wanted and int(wanted.removeprefix("bytes=").partition("-")[0]) >= len(body):
            head, body = f"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{len(body)}\r\n", b""
        elif wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last) + 1 if last else len(body)
            head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{end - 1}/{len(body)}\r\n"
            body = body[start:end]
        head += f"Content-Digest: {digest(body)}\r\nContent-MD5: of {len(body)} bytes\r\n"
        head += f"ETag: {self.etag}\r\nCache-Control: max-age={self.seconds}\r\nContent-Length: {len(body)}\r\n\r\n"
        await peer.send(head.encode() + body)


async def get(world: World, wanted: str = "", **more: Any) -> tuple[str | None, int, bytes, str | None]:
    headers = [("Range", f"bytes={wanted}")] if wanted else []
    response = await world.request("GET", PATH + "/file", [*headers, *more.pop("headers", [])], **more)
    return response.get("x-cache"), response.status, response.body, response.get("content-range")


@pytest.fixture
async def ranges(cache_world: World) -> Ranges:
    origin = Ranges()
    await cache_world.serve(origin, policy=RoutePolicy(timeout=QUICK, cache=CachePolicy(tags=("files",))))
    return origin


async def test_a_part_answers_a_request_for_what_it_has(cache_world: World, ranges: Ranges) -> None:
    assert await get(cache_world, "2-6") == ("MISS", 206, b"23456", "bytes 2-6/10")
    assert await get(cache_world, "2-6") == ("HIT", 206, b"23456", "bytes 2-6/10")
    assert await get(cache_world, "3-4") == ("HIT", 206, b"34", "bytes 3-4/10")
    assert await get(cache_world, "1-4") == ("MISS", 206, b"1234", "bytes 1-4/10")
    assert await get(cache_world, "1-6") == ("HIT", 206, b"123456", "bytes 1-6/10")
    assert ranges.requested == ["bytes=2-6", "bytes=1-4"]


async def test_parts_that_make_up_the_whole_answer_every_request(cache_world: World, ranges: Ranges) -> None:
    for wanted in ("0-3", "6-9", "6-9", "4-7"):
        await get(cache_world, wanted)
    await get(cache_world, "0-5")
    assert await get(cache_world) == ("HIT", 200, WHOLE, None)
    assert await get(cache_world, "-3") == ("HIT", 206, b"789", "bytes 7-9/10")


async def test_a_part_never_answers_a_request_for_the_whole(cache_world: World, ranges: Ranges) -> None:
    await get(cache_world, "2-6")
    assert (await get(cache_world))[:3] == ("MISS", 200, WHOLE)
    assert (await get(cache_world))[:3] == ("HIT", 200, WHOLE)


async def test_a_part_is_not_used_beside_a_newer_whole(cache_world: World, ranges: Ranges) -> None:  # section 4
    await get(cache_world, "2-6")
    cache_world.clock.advance(30)
    ranges.etag, ranges.whole, ranges.seconds = '"two"', b"abcdefghij", 5
    assert (await get(cache_world))[:3] == ("MISS", 200, b"abcdefghij")
    cache_world.clock.advance(10)
    assert (await get(cache_world, "2-6"))[1:3] == (206, b"cdefg")


async def test_a_range_beyond_the_end_is_refused_for_its_request_alone(cache_world: World, ranges: Ranges) -> None:
    refused = ("MISS", 416, b"", "bytes */10")
    assert [await get(cache_world, "10-"), await get(cache_world, "99-")] == [refused, refused]
    assert await get(cache_world, "2-6") == ("MISS", 206, b"23456", "bytes 2-6/10")
    assert await get(cache_world) == ("MISS", 200, WHOLE, None)
    assert await get(cache_world) == ("HIT", 200, WHOLE, None)


async def test_a_digest_of_the_content_is_never_that_of_another_part(cache_world: World, ranges: Ranges) -> None:
    for wanted in ("0-5", "2-3", "6-9", "", "1-8", "0-1,8-9"):
        headers = [("Range", f"bytes={wanted}")] if wanted else []
        response = await cache_world.request("GET", PATH + "/file", headers)
        assert response.get("content-digest") in (None, digest(response.body)), wanted
        assert response.get("content-md5") in (None, f"of {len(response.body)} bytes"), wanted
    assert ranges.requested == ["bytes=0-5", "bytes=6-9"]


async def test_the_digest_of_a_whole_response_is_not_sent_with_its_parts(cache_world: World, ranges: Ranges) -> None:
    await get(cache_world)
    for wanted in ("2-3", "0-1,8-9", "0-"):
        response = await cache_world.request("GET", PATH + "/file", [("Range", f"bytes={wanted}")])
        assert (response.status, response.get("content-digest"), response.get("content-md5")) == (206, None, None)
    unchanged = await cache_world.request("GET", PATH + "/file", [("If-None-Match", ranges.etag)])
    assert (unchanged.status, unchanged.get("content-digest")) == (304, None)
    assert (await cache_world.request("GET", PATH + "/file")).get("content-digest") is not None


async def test_parts_of_two_versions_are_not_combined(cache_world: World, ranges: Ranges) -> None:
    await get(cache_world, "0-4")
    ranges.etag, ranges.whole = '"two"', b"abcdefghij"
    assert (await get(cache_world, "5-9"))[2] == b"fghij"
    assert (await get(cache_world))[:3] == ("MISS", 200, b"abcdefghij")


@pytest.mark.parametrize("etag", ['W/"one"', ""])
async def test_a_part_without_a_strong_tag_is_not_stored(cache_world: World, ranges: Ranges, etag: str) -> None:
    ranges.etag = etag
    for _ in range(2):
        assert (await get(cache_world, "2-6"))[0] == "MISS"


async def test_a_part_of_another_version_than_if_range_names_is_not_used(cache_world: World, ranges: Ranges) -> None:
    await get(cache_world, "2-6")
    assert (await get(cache_world, "2-6", headers=[("If-Range", '"one"')]))[0] == "HIT"
    assert (await get(cache_world, "2-6", headers=[("If-Range", '"two"')]))[0] == "MISS"


async def test_a_part_is_its_callers_own(cache_world: World, ranges: Ranges) -> None:
    await get(cache_world, "2-6")
    assert (await get(cache_world, "2-6", key=cache_world.other_key))[0] == "MISS"


async def test_parts_end_with_a_write_a_tag_and_their_lifetime(cache_world: World, ranges: Ranges) -> None:
    async def is_stored() -> bool:
        return (await get(cache_world, "2-6"))[0] == "HIT"

    assert [await is_stored(), await is_stored()] == [False, True]
    await cache_world.request("POST", PATH + "/file", body=[b"x"])
    assert [await is_stored(), await is_stored()] == [False, True]
    await cache_world.cache.invalidate("crm", ["files"])
    assert [await is_stored(), await is_stored()] == [False, True]
    cache_world.clock.advance(61)
    assert [await is_stored(), await is_stored()] == [False, True]
