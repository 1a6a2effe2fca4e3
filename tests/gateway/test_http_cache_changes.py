"""RFC 9111, 5861, 9211 and 9875 through the whole gateway: variants, invalidation, stale-if-error, Cache-Status."""

import re
from typing import Any

import pytest

from resilience.cache.policy import CachePolicy, Scope
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import RoutePattern
from tests.gateway.cache_steps import (
    DATE,
    DOWN,
    NOT_MODIFIED,
    PATH,
    WITH_ETAG,
    Case,
    Step,
    get,
    policy,
    reply,
    run_steps,
)
from tests.gateway.conftest import QUICK, World

DE: dict[str, Any] = {"accept_language": "de"}
FR: dict[str, Any] = {"accept_language": "fr"}
VARIED = [
    reply(body=b"de", vary="Accept-Language"),
    reply(body=b"fr", vary="Accept-Language"),
    reply(body=b"3"),
]

VARIANTS: list[Case] = [
    (
        "4.1 each variant is stored",
        VARIED,
        [get("MISS", **DE), get("MISS", **FR), get("HIT", body=b"de", **DE), get("HIT", body=b"fr", **FR)],
    ),
    ("4.1 a request without the field", VARIED, [get("MISS", **DE), get("MISS"), get("HIT", **DE)]),
    ("4.1 whitespace", [reply(vary="accept")], [get("MISS", accept="a, b"), get("HIT", accept="a,  b")]),
    ("4.1 order", [reply(vary="accept")], [get("MISS", accept="a, b"), get("MISS", accept="b, a")]),
    ("4.1 Vary: *", [reply(vary="*")], [get("MISS")] * 2),
    ("4.1 * among others", [reply(vary="accept, *")], [get("MISS")] * 2),
    ("4.1 a field that no request has", [reply(vary="x-none")], [get("MISS"), get("HIT")]),
    (
        "4.1 a variant without Vary",
        [reply(body=b"de", vary="Accept-Language"), reply(body=b"any")],
        [get("MISS", **DE), get("MISS"), get("HIT", body=b"de", **DE), get("HIT", body=b"any")],
    ),
    (
        "4.3.1 each variant is validated separately",
        [
            reply(body=b"de", vary="Accept-Language", etag='"de"', cache_control="max-age=9"),
            reply(body=b"fr", vary="Accept-Language", etag='"fr"', cache_control="max-age=9"),
            reply(304, etag='"de"'),
            reply(304, etag='"fr"'),
        ],
        [
            get("MISS", **DE),
            get("MISS", **FR),
            get("REVALIDATED", 11, body=b"de", **DE),
            get("REVALIDATED", body=b"fr", **FR),
        ],
    ),
]

INVALIDATION: list[Case] = (
    [
        (
            f"4.4 {method}",
            [reply(), reply(204), reply(body=b"new")],
            [get("MISS"), get("BYPASS", 0, 204, method=method), get("MISS")],
        )
        for method in ("POST", "PUT", "DELETE", "PATCH", "PURGE")
    ]
    + [
        (
            f"4.4 {method} does not invalidate",
            [reply(), reply()],
            [get("MISS"), get("BYPASS", method=method), get("HIT")],
        )
        for method in ("OPTIONS",)
    ]
    + [
        (
            f"4.4 an error {status} does not invalidate",
            [reply(), reply(status)],
            [get("MISS"), get("BYPASS", 0, status, method="POST"), get("HIT")],
        )
        for status in (400, 404, 409, 500)
    ]
    + [
        (
            "4.4 a redirect invalidates",
            [reply(), reply(303), reply()],
            [get("MISS"), get("BYPASS", 0, 303, method="POST"), get("MISS")],
        ),
        (
            "4.4 another URI",
            [reply(), reply(204)],
            [get("MISS"), get("BYPASS", 0, 204, method="POST", path="/y"), get("HIT")],
        ),
        (
            "4.4 another query",
            [reply(), reply(204)],
            [get("MISS"), get("BYPASS", 0, 204, method="POST", path="/x?a"), get("HIT")],
        ),
        (
            "4.4 Location",
            [reply(), reply(201, location="/x"), reply()],
            [get("MISS"), get("BYPASS", 0, 201, method="POST", path="/y"), get("MISS")],
        ),
        (
            "4.4 Content-Location",
            [reply(), reply(200, content_location="x")],
            [get("MISS"), get("BYPASS", method="POST", path="/y"), get("MISS")],
        ),
        (
            "4.4 Location of another origin",
            [reply(), reply(201, location="http://elsewhere.test/x")],
            [get("MISS"), get("BYPASS", 0, 201, method="POST", path="/y"), get("HIT")],
        ),
        (
            "9875 a group",
            [reply(cache_groups='"a", "b"'), reply(204, cache_group_invalidation='"b"'), reply()],
            [get("MISS"), get("BYPASS", 0, 204, method="POST", path="/y"), get("MISS")],
        ),
        (
            "9875 another group",
            [reply(cache_groups='"a"'), reply(204, cache_group_invalidation='"b"'), reply()],
            [get("MISS"), get("BYPASS", 0, 204, method="POST", path="/y"), get("HIT")],
        ),
        (
            "9875 more groups than are invalidated one by one",
            [reply(), reply(204, cache_group_invalidation=", ".join(f'"{number}"' for number in range(300))), reply()],
            [get("MISS"), get("BYPASS", 0, 204, method="POST", path="/y"), get("MISS")],
        ),
        (
            "9875 more groups than a response can be found by",
            [reply(cache_groups=", ".join(f'"{number}"' for number in range(501))), reply()],
            [get("MISS"), get("MISS")],
        ),
        (
            "9875 ignored for a safe method",
            [reply(cache_groups='"a"'), reply(200, cache_group_invalidation='"a"')],
            [get("MISS"), get("MISS", path="/y"), get("HIT")],
        ),
    ]
)

SHORT = reply(cache_control="max-age=9, stale-if-error=5")

STALE_IF_ERROR: list[Case] = (
    [
        (
            f"5861 4 a {status}",
            [WITH_ETAG, reply(status, b"bad")],
            [get("MISS"), get("STALE", 11, body=b"0123456789", calls=1)],
        )
        for status in (500, 502, 503, 504)
    ]
    + [
        (f"5861 4 not a {status}", [WITH_ETAG, reply(status)], [get("MISS"), get("MISS", 11, status)])
        for status in (400, 403, 404, 429, 501)
    ]
    + [
        ("5861 4 within stale-if-error", [SHORT, DOWN], [get("MISS"), get("STALE", 13)]),
        ("5861 4 after stale-if-error", [SHORT, DOWN], [get("MISS"), get("MISS", 15, 503)]),
        *(
            (
                f"4.2.4 not with {control}",
                [reply(etag='"a"', cache_control=control), DOWN],
                [get("MISS"), get("MISS", 11, 503)],
            )
            for control in ("max-age=9, must-revalidate", "max-age=9, proxy-revalidate", "s-maxage=9", "no-cache")
        ),
        (
            "5.2.1.4 not with no-cache in the request",
            [WITH_ETAG, DOWN],
            [get("MISS"), get("MISS", 1, 503, cache_control="no-cache")],
        ),
        *(
            (
                f"5861 4 not a stored {status}",
                [reply(status, b"old", cache_control=control), reply(status, b"new", cache_control="max-age=9")],
                [get("MISS", 0, status), get("HIT", 1, status), get("MISS", 11, status, body=b"new")],
            )
            for status in (500, 502, 503, 504)
            for control in ("max-age=9, stale-if-error=99", "max-age=9, stale-while-revalidate=99")
        ),
        (
            "5861 4 recovered",
            [WITH_ETAG, DOWN, NOT_MODIFIED],
            [get("MISS"), get("STALE", 11), get("REVALIDATED"), get("HIT")],
        ),
    ]
)

ALL = [*VARIANTS, *INVALIDATION, *STALE_IF_ERROR]


@pytest.mark.parametrize(("replies", "steps"), [case[1:] for case in ALL], ids=[case[0] for case in ALL])
async def test_stored_responses_are_updated_and_invalidated_as_rfc_9111_says(
    cache_world: World, replies: list[bytes], steps: list[Step]
) -> None:
    await run_steps(cache_world, replies, steps)


@pytest.mark.parametrize(
    ("replies", "steps", "expected"),
    [
        ([reply()], [get("MISS")], "fwd=uri-miss; stored; ttl="),
        ([reply()], [get("MISS"), get("HIT", 100)], "hit; ttl=199"),
        ([reply(cache_control="no-store")], [get("MISS")], 'fwd=uri-miss; detail="the response says no-store"'),
        ([reply(set_cookie="a=1")], [get("MISS")], 'fwd=uri-miss; detail="the response sets a cookie"'),
        ([reply(404)], [get("MISS", 0, 404)], 'fwd=uri-miss; detail="the response has no freshness lifetime"'),
        ([reply()], [get("BYPASS", method="POST")], "fwd=method"),
        ([reply()], [get("MISS", cache_control="no-store")], "fwd=request"),
        (VARIED, [get("MISS", **DE), get("MISS", **FR)], "fwd=vary-miss; stored; ttl="),
        ([WITH_ETAG], [get("MISS"), get("MISS", 11)], "fwd=stale; stored; ttl="),
        ([WITH_ETAG, NOT_MODIFIED], [get("MISS"), get("REVALIDATED", 11)], "fwd=stale; fwd-status=304; stored; ttl="),
        ([WITH_ETAG, DOWN], [get("MISS"), get("STALE", 11)], "fwd=stale; fwd-status=503; detail=stale-if-error"),
        ([WITH_ETAG], [get("MISS"), get("STALE", 15, cache_control="max-stale")], "hit; ttl=-5; detail=max-stale"),
        (
            [WITH_ETAG, NOT_MODIFIED],
            [get("MISS"), get("REVALIDATED", cache_control="no-cache")],
            "fwd=request; fwd-status=304",
        ),
        ([WITH_ETAG], [get("MISS", 0, 504, cache_control="only-if-cached", calls=0)], "detail=only-if-cached"),
    ],
)
async def test_cache_status_gives_the_reason(  # RFC 9211
    cache_world: World, replies: list[bytes], steps: list[Step], expected: str
) -> None:
    response = await run_steps(cache_world, replies, steps)
    assert expected in (response.get("cache-status") or "")


async def test_a_validation_request_has_the_gateways_own_validators(cache_world: World) -> None:  # section 4.3.1
    origin = await cache_world.serve(WITH_ETAG, NOT_MODIFIED)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(11)
    await cache_world.request("GET", PATH + "/x", [("If-None-Match", '"mine"'), ("If-Modified-Since", DATE)])
    fields = origin.requests[1].fields
    assert [value for name, value in fields if name == b"if-none-match"] == [b'"a"']
    assert b"if-modified-since" not in dict(fields)


async def test_a_304_updates_the_stored_fields_except_those_of_the_content(cache_world: World) -> None:  # section 3.2
    not_modified = reply(
        304,
        x_kind="new",
        content_type="text/x",
        content_length="0",
        connection="x-hop",
        x_hop="1",
        content_md5="of nothing",
    )
    replies = [reply(etag='"a"', cache_control="max-age=9", x_kind="old", content_type="text/plain"), not_modified]
    await run_steps(cache_world, replies, [get("MISS"), get("REVALIDATED", 11)])
    response = await cache_world.request("GET", PATH + "/x")
    assert [response.get(name) for name in ("x-kind", "content-type", "content-length")] == ["new", "text/plain", "10"]
    assert [response.get(name) for name in ("x-hop", "content-md5")] == [None, None]


async def test_age_counts_from_the_generation_of_the_response(cache_world: World) -> None:  # section 5.1
    response = await run_steps(cache_world, [reply(age="5")], [get("MISS"), get("HIT", 10)])
    assert response.get("age") == "15"


async def test_a_partial_response_has_a_content_range(cache_world: World) -> None:  # RFC 9110 section 15.3.7
    response = await run_steps(cache_world, [WITH_ETAG], [get("MISS"), get("HIT", 0, 206, range="bytes=2-4")])
    assert [response.get(name) for name in ("content-range", "content-length", "etag")] == ["bytes 2-4/10", "3", '"a"']


async def test_only_if_cached_without_a_stored_response_is_an_error(cache_world: World) -> None:  # section 5.2.1.7
    response = await run_steps(cache_world, [reply()], [get("MISS", 0, 504, cache_control="only-if-cached", calls=0)])
    assert response.json()["code"] == "not_cached"


async def test_an_unsafe_request_invalidates_every_callers_response(cache_world: World) -> None:  # section 4.4
    await run_steps(cache_world, [reply(), reply(), reply(204), reply()], [get("MISS")])
    await cache_world.request("GET", PATH + "/x", key=cache_world.other_key)
    await cache_world.request("DELETE", PATH + "/x")
    assert (await cache_world.request("GET", PATH + "/x", key=cache_world.other_key)).get("x-cache") == "MISS"


async def test_an_interim_response_of_the_backend_is_ignored(cache_world: World) -> None:  # section 3
    early = b"HTTP/1.1 103 Early Hints\r\nCache-Control: no-store\r\n\r\n"
    await run_steps(cache_world, [early + reply(cache_control="max-age=9")], [get("MISS"), get("HIT", 8)])


async def test_trailers_are_not_stored(cache_world: World) -> None:  # RFC 9110 section 6.5.1
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n"
    response = await run_steps(cache_world, [chunked], [get("MISS"), get("HIT", body=b"ab")])
    assert response.get("x-t") is response.get("trailer") is None


async def test_a_debugging_caller_sees_the_cache_key_and_decision(cache_world: World) -> None:
    debug: dict[str, Any] = {"x_gateway_debug": "1"}
    missed = await run_steps(cache_world, [reply(cache_control="max-age=9")], [get("MISS", **debug)])
    steps = missed.get("x-gateway-debug") or ""
    assert re.search(r'cache-check;dur=[\d.]+;desc="miss [0-9a-f]{40} RFC 9111 section 4: nothing is stored', steps)
    assert 'desc="stored for 9 s by RFC 9111 section 4.2.1: max-age"' in steps
    hit = await cache_world.request("GET", PATH + "/x", [("X-Gateway-Debug", "1")])
    assert re.search(r'desc="fresh [0-9a-f]{40} RFC 9111 section 4.2: it is fresh"', hit.get("x-gateway-debug") or "")
    without_scope = await cache_world.request("GET", PATH + "/x", [("X-Gateway-Debug", "1")], key=cache_world.other_key)
    assert without_scope.get("x-gateway-debug") is None


async def test_a_debugging_caller_sees_why_a_response_is_not_stored(cache_world: World) -> None:
    response = await run_steps(cache_world, [reply(cache_control="no-store")], [get("MISS", x_gateway_debug="1")])
    assert "not stored RFC 9111 section 5.2.2.5: the response says no-store" in (response.get("x-gateway-debug") or "")


@pytest.mark.parametrize(
    "name", ["X-Gateway-Caller", "x-gateway-caller, accept", "X-Forwarded-For", "Via", "X-Request-ID"]
)
async def test_a_response_that_varies_by_the_gateways_own_fields_is_not_shared(
    cache_world: World, name: str
) -> None:  # section 4.1
    shared = policy(scope=Scope.SHARED)
    response = await run_steps(
        cache_world, [reply(body=b"ours", vary=name), reply(body=b"theirs")], [get("MISS")], shared
    )
    assert "varies by a field that the gateway sets" in (response.get("cache-status") or "")
    forged_header = [("X-Gateway-Caller", "key:forged")]
    assert (await cache_world.request("GET", PATH + "/x", forged_header, key=cache_world.other_key)).body == b"theirs"


async def test_a_callers_own_response_may_vary_by_the_caller(cache_world: World) -> None:
    await run_steps(cache_world, [reply(vary="X-Gateway-Caller")], [get("MISS"), get("HIT")])


async def test_cache_status_of_a_304_that_forbids_storing_has_no_stored(
    cache_world: World,
) -> None:  # RFC 9211 section 2.5
    replies = [WITH_ETAG, reply(304, cache_control="no-store")]
    response = await run_steps(cache_world, replies, [get("MISS"), get("REVALIDATED", 11)])
    assert response.get("cache-status") == "gateway; fwd=stale; fwd-status=304"


async def test_a_route_without_a_cache_bypasses_it(cache_world: World) -> None:
    route = policy()
    off = type(route)(timeout=route.timeout, cache=None)
    response = await run_steps(
        cache_world, [reply()], [get("BYPASS"), get("BYPASS", cache_control="only-if-cached")], off
    )
    assert response.get("cache-status") == "gateway; fwd=bypass; detail=off"


async def test_a_tag_may_name_the_caller(cache_world: World) -> None:
    write_policy = RoutePolicy(timeout=QUICK, invalidates=("box:{caller}",))
    routes = (RoutePattern("/write", ("POST",), write_policy),)
    await cache_world.serve(reply(), policy=policy(tags=("box:{caller}",)), routes=routes)
    for key in (cache_world.key, cache_world.other_key):
        await cache_world.request("GET", PATH + "/x", key=key)
    await cache_world.request("POST", PATH + "/write", body=[b"1"], key=cache_world.other_key)
    cache_results = [
        (await cache_world.request("GET", PATH + "/x", key=key)).get("x-cache")
        for key in (cache_world.key, cache_world.other_key)
    ]
    assert cache_results == ["HIT", "MISS"]
    own = "box:key:" + cache_world.key.split("_")[1]
    assert await cache_world.cache.invalidate("crm", [own]) == 1


@pytest.mark.parametrize(
    ("control", "shared"),
    [("max-age=60", False), ("max-age=60, public", True), ("s-maxage=60", True), ("must-revalidate, max-age=9", True)],
)
async def test_a_response_to_a_forwarded_credential_is_shared_only_if_explicitly_allowed(  # RFC 9111 section 3.5
    cache_world: World, control: str, shared: bool
) -> None:
    open_to_all = RoutePolicy(
        timeout=QUICK, auth=Auth.NONE, forward_authorization=True, cache=CachePolicy(scope=Scope.SHARED)
    )
    await cache_world.serve(reply(body=b"ann", cache_control=control), reply(body=b"anybody"), policy=open_to_all)
    first = await cache_world.request("GET", PATH + "/x", [("Authorization", "Basic YW5u")], key="")
    assert first.body == b"ann"
    second = await cache_world.request("GET", PATH + "/x", key="")
    assert second.body == (b"ann" if shared else b"anybody")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "M-SEARCH", "UNKNOWN"])
async def test_any_unsafe_method_invalidates_stored_responses(cache_world: World, method: str) -> None:  # section 4.4
    created = [reply(201, location="/x/new", content_location="/x/other")]
    await cache_world.serve(reply(), reply(), reply(), *created, reply())
    for path in ("/x", "/x/new", "/x/other"):
        await cache_world.request("GET", PATH + path)
    assert (await cache_world.request(method, PATH + "/x", body=[b"1"])).status == 201
    cache_results = [
        (await cache_world.request("GET", PATH + path)).get("x-cache") for path in ("/x", "/x/new", "/x/other")
    ]
    assert cache_results == ["MISS"] * 3
