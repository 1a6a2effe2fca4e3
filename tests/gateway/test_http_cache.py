"""RFC 9111 section by section, through the whole gateway, with the memory store and with both tiers over Redis."""

import pytest

from tests.gateway.cache_steps import (
    DATE,
    DOWN,
    IN_A_MINUTE,
    MINUTE_AGO,
    NOT_MODIFIED,
    WITH_ETAG,
    WITH_LAST_MODIFIED,
    Case,
    Step,
    get,
    reply,
    run_steps,
)
from tests.gateway.conftest import World

STORING: list[Case] = [
    ("3 no lifetime given, the default applies", [reply()], [get("MISS"), get("HIT", 299), get("MISS", 301)]),
    ("3 max-age", [reply(cache_control="max-age=10")], [get("MISS"), get("HIT", 9), get("MISS", 2)]),
    ("3 Expires", [reply(expires=IN_A_MINUTE)], [get("MISS"), get("HIT", 59), get("MISS", 2)]),
    ("3 a status without a heuristic lifetime", [reply(404)], [get("MISS", status=404)] * 2),
    ("3 a 404 with a lifetime", [reply(404, cache_control="max-age=9")], [get("MISS", 0, 404), get("HIT", 8, 404)]),
    ("3 a 500 without one", [reply(500)], [get("MISS", status=500)] * 2),
    ("3 a 204", [reply(204)], [get("MISS", status=204), get("HIT", status=204, body=b"")]),
    ("3 a 301", [reply(301, location="/y")], [get("MISS", status=301), get("HIT", status=301)]),
    ("3 a 302", [reply(302, location="/y")], [get("MISS", status=302)] * 2),
    ("3 no-store of the response", [reply(cache_control="no-store")], [get("MISS")] * 2),
    ("3 no-store of the request", [reply()], [get("MISS", cache_control="no-store"), get("MISS")]),
    ("3 another path", [reply()], [get("MISS"), get("MISS", path="/y"), get("HIT")]),
    ("3 another query", [reply()], [get("MISS"), get("MISS", path="/x?a"), get("HIT", path="/x?a")]),
    ("3 HEAD is not stored", [reply(body=b"")], [get("MISS", method="HEAD"), get("MISS")]),
    ("3 POST is not stored", [reply()], [get("BYPASS", method="POST"), get("MISS")]),
    ("3 Set-Cookie is not stored", [reply(set_cookie="a=1")], [get("MISS")] * 2),
    ("3 nor with a cookie of the gateway's name", [reply(set_cookie="sessionid=1")], [get("MISS")] * 2),
    ("3 nor with one for other hosts", [reply(set_cookie="a=1; Domain=example.com")], [get("MISS")] * 2),
    (
        "4.3.4 nor with such a cookie of a 304",
        [WITH_ETAG, reply(304, set_cookie="sessionid=1")],
        [get("MISS"), get("REVALIDATED", 11), get("REVALIDATED")],
    ),
    (
        "3 except if excluded by no-cache",
        [reply(set_cookie="a=1", cache_control='no-cache="set-cookie"')],
        [get("MISS"), get("HIT")],
    ),
    ("3.1 fields named by Connection", [reply(connection="x-gone", x_gone="1")], [get("MISS"), get("HIT")]),
    ("3.3 a partial response", [reply(206, content_range="bytes 0-9/20")], [get("MISS", status=206)] * 2),
    ("3.5 private", [reply(cache_control="private, max-age=9")], [get("MISS")] * 2),
    ("4.2.1 conflicting values", [reply(cache_control="max-age=9, max-age=8")], [get("MISS")] * 2),
    ("4.2.1 malformed", [reply(cache_control="max-age=x")], [get("MISS")] * 2),
    ("4.2.3 Age", [reply(cache_control="max-age=10", age="5")], [get("MISS"), get("HIT", 4), get("MISS", 1)]),
    (
        "4.2.3 Date",
        [reply(cache_control="max-age=100", date=MINUTE_AGO)],
        [get("MISS"), get("HIT", 39), get("MISS", 1)],
    ),
    ("4.2.3 a Date in the future", [reply(cache_control="max-age=9", date=IN_A_MINUTE)], [get("MISS"), get("HIT", 8)]),
    ("5.2.2.1 max-age=0", [reply(cache_control="max-age=0")], [get("MISS")] * 2),
    (
        "5.2.2.2 must-revalidate",
        [reply(cache_control="must-revalidate, max-age=9")],
        [get("MISS"), get("HIT", 8)],
    ),
    ("5.2.2.3 must-understand", [reply(cache_control="must-understand, no-store")], [get("MISS"), get("HIT")]),
    (
        "5.2.2.10 s-maxage",
        [reply(cache_control="s-maxage=9, max-age=99")],
        [get("MISS"), get("HIT", 8), get("MISS", 2)],
    ),
    ("5.3 Expires: 0", [reply(expires="0")], [get("MISS")] * 2),
    ("5.4 Pragma in a response is ignored", [reply(pragma="no-cache")], [get("MISS"), get("HIT")]),
    (
        "9213 targeted field",
        [reply(cdn_cache_control="max-age=99", cache_control="no-store")],
        [get("MISS"), get("HIT", 98)],
    ),
    ("9213 overrides Expires", [reply(cdn_cache_control="public", expires="0")], [get("MISS"), get("HIT")]),
]

VALIDATION: list[Case] = [
    (
        "4.2.4 expired and validated by ETag",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 11, body=b"0123456789")],
    ),
    (
        "4.2.4 validated by Last-Modified",
        [WITH_LAST_MODIFIED, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 11), get("HIT", 9)],
    ),
    (
        "4.3.3 a new response",
        [WITH_ETAG, reply(etag='"b"', body=b"new")],
        [get("MISS"), get("MISS", 11, body=b"new"), get("HIT")],
    ),
    ("4.3.3 an error response", [WITH_ETAG, reply(404, b"")], [get("MISS"), get("MISS", 11, 404)]),
    (
        "4.3.4 fresh again after validation",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 11), get("HIT", 9), get("REVALIDATED", 2)],
    ),
    (
        "4.3.4 with a new lifetime",
        [WITH_ETAG, reply(304, cache_control="max-age=100")],
        [get("MISS"), get("REVALIDATED", 11), get("HIT", 99)],
    ),
    (
        "4.3.4 a 304 with another ETag",
        [WITH_ETAG, reply(304, etag='"b"'), reply(body=b"new")],
        [get("MISS"), get("MISS", 11, body=b"new", calls=2)],
    ),
    (
        "4.3.4 another ETag, and then a failure",
        [WITH_ETAG, reply(304, etag='"b"'), DOWN],
        [get("MISS"), get("STALE", 11, body=b"0123456789", calls=2)],
    ),
    (
        "4.3.4 a 304 that forbids storing",
        [WITH_ETAG, reply(304, cache_control="no-store"), reply(304)],
        [get("MISS"), get("REVALIDATED", 11, body=b"0123456789"), get("REVALIDATED", 1)],
    ),
    (
        "5.2.2.4 no-cache",
        [reply(etag='"a"', cache_control="no-cache"), NOT_MODIFIED],
        [get("MISS")] + [get("REVALIDATED")] * 2,
    ),
    ("5.2.2.4 without a validator", [reply(cache_control="no-cache")], [get("MISS")] * 2),
    (
        "5.2.2.1 max-age=0",
        [reply(etag='"a"', cache_control="max-age=0"), NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED")],
    ),
    (
        "5.2.2.2 must-revalidate",
        [reply(etag='"a"', cache_control="must-revalidate, max-age=9"), NOT_MODIFIED],
        [get("MISS"), get("HIT", 8), get("REVALIDATED", 2)],
    ),
    (
        "5.2.1.4 no-cache of the request",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", cache_control="no-cache")],
    ),
    (
        "5.2.1.1 max-age=0 of the request",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", cache_control="max-age=0")],
    ),
    ("5.4 Pragma of the request", [WITH_ETAG, NOT_MODIFIED], [get("MISS"), get("REVALIDATED", pragma="no-cache")]),
    (
        "4.3.5 validated by HEAD",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 11, method="HEAD"), get("HIT", 9)],
    ),
    (
        "4.3.5 a matching HEAD response",
        [WITH_ETAG, b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\nCache-Control: max-age=10\r\nETag: "a"\r\n\r\n'],
        [get("MISS"), get("MISS", 11, method="HEAD"), get("HIT", 9, body=b"0123456789")],
    ),
    (
        "4.3.5 a HEAD response that does not match",
        [WITH_ETAG, b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "b"\r\n\r\n', reply(body=b"new")],
        [get("MISS"), get("MISS", 11, method="HEAD"), get("MISS", body=b"new")],
    ),
]

CONDITIONAL_AND_RANGE: list[Case] = [
    ("4.3.2 If-None-Match", [WITH_ETAG], [get("MISS"), get("HIT", status=304, if_none_match='"a"', body=b"")]),
    ("4.3.2 weak comparison", [WITH_ETAG], [get("MISS"), get("HIT", status=304, if_none_match='W/"a"')]),
    ("4.3.2 one of several", [WITH_ETAG], [get("MISS"), get("HIT", status=304, if_none_match='"b", "a"')]),
    ("4.3.2 another ETag", [WITH_ETAG], [get("MISS"), get("HIT", if_none_match='"b"', body=b"0123456789")]),
    ("4.3.2 If-None-Match: *", [WITH_ETAG], [get("MISS"), get("HIT", status=304, if_none_match="*")]),
    ("4.3.2 HEAD", [WITH_ETAG], [get("MISS"), get("HIT", status=304, method="HEAD", if_none_match='"a"')]),
    (
        "4.3.2 If-Modified-Since",
        [WITH_LAST_MODIFIED],
        [get("MISS"), get("HIT", status=304, if_modified_since=MINUTE_AGO)],
    ),
    ("4.3.2 a later date", [WITH_LAST_MODIFIED], [get("MISS"), get("HIT", status=304, if_modified_since=DATE)]),
    (
        "4.3.2 an earlier date",
        [WITH_LAST_MODIFIED],
        [get("MISS"), get("HIT", if_modified_since="Tue, 14 Nov 2023 22:12:19 GMT")],
    ),
    ("4.3.2 a malformed date", [WITH_LAST_MODIFIED], [get("MISS"), get("HIT", if_modified_since="yesterday")]),
    (
        "4.3.2 ETag takes precedence over the date",
        [WITH_ETAG],
        [get("MISS"), get("HIT", if_none_match='"b"', if_modified_since=IN_A_MINUTE)],
    ),
    ("4.3.2 If-Match is forwarded", [WITH_ETAG], [get("MISS"), get("MISS", if_match='"a"')]),
    (
        "4.3.2 If-Unmodified-Since is forwarded",
        [WITH_LAST_MODIFIED],
        [get("MISS"), get("MISS", if_unmodified_since=DATE)],
    ),
    (
        "4.3.2 validated, then 304",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 11, 304, if_none_match='"a"')],
    ),
    (
        "4.3.2 validated, then 200",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 11, if_none_match='"b"', body=b"0123456789")],
    ),
    ("4.3.2 nothing stored", [NOT_MODIFIED], [get("MISS", 0, 304, if_none_match='"a"')] * 2),
    ("9110 14.2 a range", [WITH_ETAG], [get("MISS"), get("HIT", status=206, range="bytes=2-4", body=b"234")]),
    ("9110 14.2 a suffix range", [WITH_ETAG], [get("MISS"), get("HIT", status=206, range="bytes=-2", body=b"89")]),
    ("9110 14.2 unsatisfiable", [WITH_ETAG], [get("MISS"), get("HIT", status=416, range="bytes=10-", body=b"")]),
    (
        "9110 14.2 two adjacent ranges",
        [WITH_ETAG],
        [get("MISS"), get("HIT", status=206, range="bytes=0-1,2-3", body=b"0123")],
    ),
    ("9110 14.6 two separate ranges", [WITH_ETAG], [get("MISS"), get("HIT", status=206, range="bytes=0-1,8-9")]),
    (
        "9110 14.6 several, all unsatisfiable",
        [WITH_ETAG],
        [get("MISS"), get("HIT", status=416, range="bytes=10-,12-", body=b"")],
    ),
    (
        "9110 17.15 too many ranges",
        [WITH_ETAG],
        [get("MISS"), get("HIT", range="bytes=" + ",".join(["0-1,8-9"] * 20), body=b"0123456789")],
    ),
    ("9110 14.2 another unit", [WITH_ETAG], [get("MISS"), get("HIT", range="items=0-1", body=b"0123456789")]),
    ("9110 14.2 HEAD ignores Range", [WITH_ETAG], [get("MISS"), get("HIT", method="HEAD", range="bytes=0-1")]),
    ("9110 13.1.5 If-Range", [WITH_ETAG], [get("MISS"), get("HIT", status=206, range="bytes=0-1", if_range='"a"')]),
    ("9110 13.1.5 another ETag", [WITH_ETAG], [get("MISS"), get("HIT", range="bytes=0-1", if_range='"b"')]),
    ("9110 13.1.5 a weak ETag", [WITH_ETAG], [get("MISS"), get("HIT", range="bytes=0-1", if_range='W/"a"')]),
    (
        "9110 13.2.2 the condition takes precedence",
        [WITH_ETAG],
        [get("MISS"), get("HIT", 0, 304, range="bytes=0-1", if_none_match="*")],
    ),
    (
        "3.3 a range after validation",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 11, 206, range="bytes=0-1", body=b"01")],
    ),
    (
        "3.3 a 206 with nothing stored is relayed and not stored",
        [reply(206, b"01", content_range="bytes 0-1/10"), reply()],
        [get("MISS", status=206, range="bytes=0-1"), get("MISS")],
    ),
]

REQUEST_DIRECTIVES: list[Case] = [
    ("5.2.1.1 max-age", [WITH_ETAG, NOT_MODIFIED], [get("MISS"), get("HIT", 5, cache_control="max-age=6")]),
    (
        "5.2.1.1 max-age exceeded",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 5, cache_control="max-age=4")],
    ),
    ("5.2.1.2 max-stale", [WITH_ETAG], [get("MISS"), get("STALE", 15, cache_control="max-stale=6", calls=0)]),
    (
        "5.2.1.2 max-stale without a value",
        [WITH_ETAG],
        [get("MISS"), get("STALE", 290, cache_control="max-stale", calls=0)],
    ),
    (
        "5.2.1.2 max-stale exceeded",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 15, cache_control="max-stale=4")],
    ),
    (
        "5.2.2.2 not with must-revalidate",
        [reply(etag='"a"', cache_control="max-age=9, must-revalidate"), NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 15, cache_control="max-stale")],
    ),
    ("5.2.1.3 min-fresh", [WITH_ETAG], [get("MISS"), get("HIT", 5, cache_control="min-fresh=4")]),
    (
        "5.2.1.3 min-fresh not satisfied",
        [WITH_ETAG, NOT_MODIFIED],
        [get("MISS"), get("REVALIDATED", 5, cache_control="min-fresh=6")],
    ),
    ("5.2.1.7 only-if-cached", [WITH_ETAG], [get("MISS", 0, 504, cache_control="only-if-cached", calls=0)]),
    ("5.2.1.7 stored", [WITH_ETAG], [get("MISS"), get("HIT", cache_control="only-if-cached")]),
    ("5.2.1.7 expired", [WITH_ETAG], [get("MISS"), get("MISS", 11, 504, cache_control="only-if-cached", calls=0)]),
    (
        "5.2.1.7 stale is allowed",
        [WITH_ETAG],
        [get("MISS"), get("STALE", 11, cache_control="only-if-cached, max-stale")],
    ),
]

ALL = [*STORING, *VALIDATION, *CONDITIONAL_AND_RANGE, *REQUEST_DIRECTIVES]


@pytest.mark.parametrize(("replies", "steps"), [case[1:] for case in ALL], ids=[case[0] for case in ALL])
async def test_responses_are_stored_and_reused_as_rfc_9111_says(
    cache_world: World, replies: list[bytes], steps: list[Step]
) -> None:
    await run_steps(cache_world, replies, steps)
