"""RFC 9111, 5861, 9211 and 9875 through the whole gateway, over either store: variants, changes, failures, words."""

import re
from typing import Any

import pytest

from resilience.cache.policy import CachePolicy, Scope
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import Route
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

VARYING: list[Case] = [
    (
        "4.1 each its own",
        VARIED,
        [get("MISS", **DE), get("MISS", **FR), get("HIT", body=b"de", **DE), get("HIT", body=b"fr", **FR)],
    ),
    ("4.1 one that says nothing", VARIED, [get("MISS", **DE), get("MISS"), get("HIT", **DE)]),
    ("4.1 whitespace", [reply(vary="accept")], [get("MISS", accept="a, b"), get("HIT", accept="a,  b")]),
    ("4.1 order", [reply(vary="accept")], [get("MISS", accept="a, b"), get("MISS", accept="b, a")]),
    ("4.1 everything", [reply(vary="*")], [get("MISS")] * 2),
    ("4.1 among others", [reply(vary="accept, *")], [get("MISS")] * 2),
    ("4.1 of a field nobody sends", [reply(vary="x-none")], [get("MISS"), get("HIT")]),
    (
        "4.1 one forgets",
        [reply(body=b"de", vary="Accept-Language"), reply(body=b"any")],
        [get("MISS", **DE), get("MISS"), get("HIT", body=b"de", **DE), get("HIT", body=b"any")],
    ),
    (
        "4.3.1 each asked about by itself",
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

CHANGING: list[Case] = (
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
            f"4.4 {method} changes nothing",
            [reply(), reply()],
            [get("MISS"), get("BYPASS", method=method), get("HIT")],
        )
        for method in ("OPTIONS",)
    ]
    + [
        (
            f"4.4 a failed {status}",
            [reply(), reply(status)],
            [get("MISS"), get("BYPASS", 0, status, method="POST"), get("HIT")],
        )
        for status in (400, 404, 409, 500)
    ]
    + [
        (
            "4.4 a redirect counts",
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
            "4.4 of another origin",
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
            "9875 not of a safe method",
            [reply(cache_groups='"a"'), reply(200, cache_group_invalidation='"a"')],
            [get("MISS"), get("MISS", path="/y"), get("HIT")],
        ),
    ]
)

SHORT = reply(cache_control="max-age=9, stale-if-error=5")

FAILING: list[Case] = (
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
        ("5861 4 as long as it says", [SHORT, DOWN], [get("MISS"), get("STALE", 13)]),
        ("5861 4 and no longer", [SHORT, DOWN], [get("MISS"), get("MISS", 15, 503)]),
        *(
            (
                f"4.2.4 never for {said}",
                [reply(etag='"a"', cache_control=said), DOWN],
                [get("MISS"), get("MISS", 11, 503)],
            )
            for said in ("max-age=9, must-revalidate", "max-age=9, proxy-revalidate", "s-maxage=9", "no-cache")
        ),
        (
            "5.2.1.4 nor if asked not to",
            [WITH_ETAG, DOWN],
            [get("MISS"), get("MISS", 1, 503, cache_control="no-cache")],
        ),
        (
            "5861 4 well again",
            [WITH_ETAG, DOWN, NOT_MODIFIED],
            [get("MISS"), get("STALE", 11), get("REVALIDATED"), get("HIT")],
        ),
    ]
)

ALL = [*VARYING, *CHANGING, *FAILING]


@pytest.mark.parametrize(("answers", "steps"), [case[1:] for case in ALL], ids=[case[0] for case in ALL])
async def test_rfc_9111(cache_world: World, answers: list[bytes], steps: list[Step]) -> None:
    await run_steps(cache_world, answers, steps)


@pytest.mark.parametrize(
    ("answers", "steps", "said"),
    [
        ([reply()], [get("MISS")], "fwd=uri-miss; stored; ttl="),
        ([reply()], [get("MISS"), get("HIT", 100)], "hit; ttl=199"),
        ([reply(cache_control="no-store")], [get("MISS")], 'fwd=uri-miss; detail="the answer says no-store"'),
        ([reply(set_cookie="a=1")], [get("MISS")], 'fwd=uri-miss; detail="the answer sets a cookie"'),
        ([reply(404)], [get("MISS", 0, 404)], 'fwd=uri-miss; detail="the answer says not how long it is fresh"'),
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
async def test_cache_status_always_tells_why(  # RFC 9211
    cache_world: World, answers: list[bytes], steps: list[Step], said: str
) -> None:
    answer = await run_steps(cache_world, answers, steps)
    assert said in (answer.get("cache-status") or "")


async def test_what_is_asked_of_the_backend_is_our_question(cache_world: World) -> None:  # section 4.3.1
    origin = await cache_world.serve(WITH_ETAG, NOT_MODIFIED)
    await cache_world.request("GET", PATH + "/x")
    cache_world.clock.advance(11)
    await cache_world.request("GET", PATH + "/x", [("If-None-Match", '"mine"'), ("If-Modified-Since", DATE)])
    fields = origin.requests[1].fields
    assert [value for name, value in fields if name == b"if-none-match"] == [b'"a"']
    assert b"if-modified-since" not in dict(fields)


async def test_a_304_updates_what_is_stored_but_what_is_about_the_body(cache_world: World) -> None:  # section 3.2
    confirmed = reply(304, x_kind="new", content_type="text/x", content_length="0", connection="x-hop", x_hop="1")
    answers = [reply(etag='"a"', cache_control="max-age=9", x_kind="old", content_type="text/plain"), confirmed]
    await run_steps(cache_world, answers, [get("MISS"), get("REVALIDATED", 11)])
    answer = await cache_world.request("GET", PATH + "/x")
    assert [answer.get(name) for name in ("x-kind", "content-type", "content-length")] == ["new", "text/plain", "10"]
    assert answer.get("x-hop") is None


async def test_an_age_counts_from_the_answers_making(cache_world: World) -> None:  # section 5.1
    answer = await run_steps(cache_world, [reply(age="5")], [get("MISS"), get("HIT", 10)])
    assert answer.get("age") == "15"


async def test_a_part_bears_its_place(cache_world: World) -> None:  # RFC 9110 section 15.3.7
    answer = await run_steps(cache_world, [WITH_ETAG], [get("MISS"), get("HIT", 0, 206, range="bytes=2-4")])
    assert [answer.get(name) for name in ("content-range", "content-length", "etag")] == ["bytes 2-4/10", "3", '"a"']


async def test_who_asks_for_what_is_stored_alone_gets_a_problem(cache_world: World) -> None:  # section 5.2.1.7
    answer = await run_steps(cache_world, [reply()], [get("MISS", 0, 504, cache_control="only-if-cached", calls=0)])
    assert answer.json()["code"] == "not_cached"


async def test_a_change_takes_back_every_callers_answer(cache_world: World) -> None:  # section 4.4
    await run_steps(cache_world, [reply(), reply(), reply(204), reply()], [get("MISS")])
    await cache_world.request("GET", PATH + "/x", key=cache_world.other_key)
    await cache_world.request("DELETE", PATH + "/x")
    assert (await cache_world.request("GET", PATH + "/x", key=cache_world.other_key)).get("x-cache") == "MISS"


async def test_the_backends_interim_answer_disturbs_nothing(cache_world: World) -> None:  # section 3
    early = b"HTTP/1.1 103 Early Hints\r\nCache-Control: no-store\r\n\r\n"
    await run_steps(cache_world, [early + reply(cache_control="max-age=9")], [get("MISS"), get("HIT", 8)])


async def test_trailers_are_not_stored(cache_world: World) -> None:  # RFC 9110 section 6.5.1
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n"
    answer = await run_steps(cache_world, [chunked], [get("MISS"), get("HIT", body=b"ab")])
    assert answer.get("x-t") is answer.get("trailer") is None


async def test_the_debugging_caller_learns_key_and_verdict(cache_world: World) -> None:
    debug: dict[str, Any] = {"x_gateway_debug": "1"}
    missed = await run_steps(cache_world, [reply(cache_control="max-age=9")], [get("MISS", **debug)])
    said = missed.get("x-gateway-debug") or ""
    assert re.search(r'cache-check;dur=[\d.]+;desc="miss [0-9a-f]{40} RFC 9111 section 4: nothing is stored', said)
    assert 'desc="kept for 9 s by RFC 9111 section 4.2.1: max-age"' in said
    hit = await cache_world.request("GET", PATH + "/x", [("X-Gateway-Debug", "1")])
    assert re.search(r'desc="fresh [0-9a-f]{40} RFC 9111 section 4.2: it is fresh"', hit.get("x-gateway-debug") or "")
    quiet = await cache_world.request("GET", PATH + "/x", [("X-Gateway-Debug", "1")], key=cache_world.other_key)
    assert quiet.get("x-gateway-debug") is None


async def test_the_debugging_caller_learns_why_an_answer_is_not_kept(cache_world: World) -> None:
    answer = await run_steps(cache_world, [reply(cache_control="no-store")], [get("MISS", x_gateway_debug="1")])
    assert "not kept RFC 9111 section 5.2.2.5: the answer says no-store" in (answer.get("x-gateway-debug") or "")


@pytest.mark.parametrize(
    "name", ["X-Gateway-Caller", "x-gateway-caller, accept", "X-Forwarded-For", "Via", "X-Request-ID"]
)
async def test_what_varies_by_the_gateways_own_words_is_not_shared(
    cache_world: World, name: str
) -> None:  # section 4.1
    shared = policy(scope=Scope.SHARED)
    answer = await run_steps(
        cache_world, [reply(body=b"ours", vary=name), reply(body=b"theirs")], [get("MISS")], shared
    )
    assert "varies by what the gateway says" in (answer.get("cache-status") or "")
    forged = [("X-Gateway-Caller", "key:forged")]
    assert (await cache_world.request("GET", PATH + "/x", forged, key=cache_world.other_key)).body == b"theirs"


async def test_but_may_vary_by_the_caller_whose_it_is(cache_world: World) -> None:
    await run_steps(cache_world, [reply(vary="X-Gateway-Caller")], [get("MISS"), get("HIT")])


async def test_a_304_that_forbids_storing_is_not_said_to_be_stored(cache_world: World) -> None:  # RFC 9211 section 2.5
    answers = [WITH_ETAG, reply(304, cache_control="no-store")]
    answer = await run_steps(cache_world, answers, [get("MISS"), get("REVALIDATED", 11)])
    assert answer.get("cache-status") == "gateway; fwd=stale; fwd-status=304"


async def test_off_is_off(cache_world: World) -> None:
    route = policy()
    off = type(route)(timeout=route.timeout, cache=None)
    answer = await run_steps(
        cache_world, [reply()], [get("BYPASS"), get("BYPASS", cache_control="only-if-cached")], off
    )
    assert answer.get("cache-status") == "gateway; fwd=bypass; detail=off"


async def test_a_tag_may_name_whose_answer_it_is(cache_world: World) -> None:
    writing = RoutePolicy(timeout=QUICK, invalidates=("box:{caller}",))
    routes = (Route("/write", ("POST",), writing),)
    await cache_world.serve(reply(), policy=policy(tags=("box:{caller}",)), routes=routes)
    for key in (cache_world.key, cache_world.other_key):
        await cache_world.request("GET", PATH + "/x", key=key)
    await cache_world.request("POST", PATH + "/write", body=[b"1"], key=cache_world.other_key)
    verdicts = [
        (await cache_world.request("GET", PATH + "/x", key=key)).get("x-cache")
        for key in (cache_world.key, cache_world.other_key)
    ]
    assert verdicts == ["HIT", "MISS"]
    own = "box:key:" + cache_world.key.split("_")[1]
    assert await cache_world.cache.invalidate("crm", [own]) == 1


@pytest.mark.parametrize(
    ("control", "shared"),
    [("max-age=60", False), ("max-age=60, public", True), ("s-maxage=60", True), ("must-revalidate, max-age=9", True)],
)
async def test_what_only_the_backend_knows_to_be_ones_own_is_shared_where_it_says_so(  # RFC 9111 section 3.5
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
async def test_any_unsafe_method_takes_back_what_is_stored(cache_world: World, method: str) -> None:  # section 4.4
    away = [reply(201, location="/x/new", content_location="/x/other")]
    await cache_world.serve(reply(), reply(), reply(), *away, reply())
    for path in ("/x", "/x/new", "/x/other"):
        await cache_world.request("GET", PATH + path)
    assert (await cache_world.request(method, PATH + "/x", body=[b"1"])).status == 201
    verdicts = [(await cache_world.request("GET", PATH + path)).get("x-cache") for path in ("/x", "/x/new", "/x/other")]
    assert verdicts == ["MISS"] * 3
