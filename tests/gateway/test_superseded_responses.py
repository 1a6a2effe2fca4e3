"""A response that is not stored, in place of one that is: the older one is not sent again."""

import pytest

from resilience.cache.body_recorder import BODY_BYTES
from resilience.cache.policy import Scope
from tests.gateway.cache_steps import DOWN, MINUTE_AGO, PATH, WITH_ETAG, get, policy, reply, run_steps
from tests.gateway.conftest import World
from tests.resilience.cache.entries import until

REPLACEMENTS = {
    "gone": reply(410, cache_control="no-store"),
    "not found": reply(404),
    "a redirect": reply(302, location="/y"),
    "no-store": reply(cache_control="no-store"),
    "Vary: *": reply(vary="*"),
}
OF_ONE_CALLER = {"forbidden": reply(403), "malformed": reply(400), "a cookie": reply(set_cookie="a=1")}
OF_ONE_REQUEST = {
    "a precondition": reply(412),
    "a limit": reply(429),
    "a part": reply(206, content_range="bytes 0-9/20"),
    "not implemented": reply(501),
}


def _status(response: bytes) -> int:
    return int(response.split(b" ")[1])


async def _after(world: World, replacement: bytes, scope: Scope) -> str:
    """X-Cache, while the backend is down, after it has sent `replacement` in place of the stored response."""
    status = _status(replacement)
    steps = [get("MISS"), get("MISS", 11, status)]
    origin_replies = [WITH_ETAG, replacement, DOWN]
    await run_steps(world, origin_replies, steps, policy(scope=scope, stale_if_error=300))
    return (await world.request("GET", PATH + "/x")).get("x-cache") or ""


@pytest.mark.parametrize("scope", [Scope.USER, Scope.SHARED])
@pytest.mark.parametrize("replacement", REPLACEMENTS.values(), ids=REPLACEMENTS)
async def test_what_the_backend_has_replaced_is_not_sent_instead_of_an_error(
    cache_world: World, replacement: bytes, scope: Scope
) -> None:
    assert await _after(cache_world, replacement, scope) == "MISS"


@pytest.mark.parametrize(("scope", "expected"), [(Scope.USER, "MISS"), (Scope.SHARED, "STALE")])
@pytest.mark.parametrize("replacement", OF_ONE_CALLER.values(), ids=OF_ONE_CALLER)
async def test_what_one_caller_is_refused_ends_no_response_of_others(
    cache_world: World, replacement: bytes, scope: Scope, expected: str
) -> None:
    assert await _after(cache_world, replacement, scope) == expected


@pytest.mark.parametrize("replacement", OF_ONE_REQUEST.values(), ids=OF_ONE_REQUEST)
async def test_a_response_about_its_request_or_a_failure_ends_nothing(cache_world: World, replacement: bytes) -> None:
    assert await _after(cache_world, replacement, Scope.USER) == "STALE"


async def test_a_response_that_is_too_long_to_be_stored_replaces_one_that_was(cache_world: World) -> None:
    assert await _after(cache_world, reply(body=bytes(BODY_BYTES + 1)), Scope.USER) == "MISS"


async def test_what_is_replaced_while_it_is_fresh_is_not_a_hit_again(cache_world: World) -> None:
    steps = [get("MISS"), get("MISS", 1, 404, cache_control="no-cache"), get("MISS", 0, 404)]
    await run_steps(cache_world, [WITH_ETAG, reply(404), reply(404)], steps)


async def test_a_replaced_response_is_used_again_once_the_backend_confirms_it(cache_world: World) -> None:
    steps = [get("MISS"), get("MISS", 11, 404), get("REVALIDATED", body=b"0123456789"), get("HIT")]
    await run_steps(cache_world, [WITH_ETAG, reply(404), reply(304, cache_control="max-age=9")], steps)


async def test_what_is_replaced_after_a_304_about_another_response_is_not_a_hit_again(cache_world: World) -> None:
    steps = [get("MISS"), get("MISS", 1, 404, calls=2, cache_control="no-cache"), get("MISS", 0, 404)]
    await run_steps(cache_world, [WITH_ETAG, reply(304, etag='"b"'), reply(404)], steps)


async def test_a_304_does_not_confirm_that_there_is_no_resource(cache_world: World) -> None:
    """Backends that evaluate the conditions send it once there is one that is older than their page for 404."""
    gone = reply(404, b"none", last_modified=MINUTE_AGO, cache_control="max-age=10")
    origin = await cache_world.serve(gone, reply(body=b"there is"), policy=policy())
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(11)
    assert (await cache_world.request("GET", PATH + "/x")).body == b"there is"
    assert not {b"if-modified-since", b"if-none-match"} & dict(origin.requests[1].fields).keys()


async def test_other_variants_remain(cache_world: World) -> None:
    french = reply(body=b"fr", vary="Accept-Language", cache_control="max-age=10")
    german = reply(body=b"de", vary="Accept-Language", cache_control="max-age=10")
    steps = [
        get("MISS", accept_language="fr"),
        get("MISS", accept_language="de"),
        get("MISS", 11, 404, accept_language="fr"),
        get("STALE", body=b"de", accept_language="de"),
    ]
    await run_steps(cache_world, [french, german, reply(404), DOWN], steps, policy(stale_if_error=300))


async def test_a_background_refresh_ends_what_it_finds_gone(cache_world: World) -> None:
    origin = await cache_world.serve(WITH_ETAG, reply(404), policy=policy(stale_while_revalidate=3_600))
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(15)
    assert (await cache_world.request("GET", PATH + "/x")).get("x-cache") == "STALE"

    async def is_gone() -> bool:
        return (await cache_world.request("GET", PATH + "/x")).status == 404

    await until(is_gone)
    assert len(origin.requests) >= 2
