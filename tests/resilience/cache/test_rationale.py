"""Every decision of the cache names its rule."""

import pytest

from resilience.cache.messages import CacheRequest, CacheResponse
from resilience.cache.policy import CachePolicy
from resilience.cache.rationale import lookup_rule, storage_rule
from resilience.cache.serving import lookup
from tests.resilience.cache.messages import IN_A_MINUTE, MINUTE_AGO, NOW, entry, make_request, pairs, verdict

WITH_ETAG = {"etag": '"a"', "cache_control": "max-age=10"}
MUST_REVALIDATE = {"etag": '"a"', "cache_control": "max-age=10, must-revalidate"}


@pytest.mark.parametrize(
    ("stored", "request_", "after", "section"),
    [
        (WITH_ETAG, make_request(), 0, "RFC 9111 section 4.2:"),
        (WITH_ETAG, make_request(cache_control="max-stale"), 11, "RFC 9111 section 5.2.1.2:"),
        ({"cache_control": "max-age=10, stale-while-revalidate=9"}, make_request(), 11, "RFC 5861 section 3:"),
        (WITH_ETAG, make_request(), 11, "RFC 9111 section 4.3:"),
        (MUST_REVALIDATE, make_request(), 11, "RFC 9111 section 4.2.4:"),
        (WITH_ETAG, make_request(cache_control="no-cache"), 0, "RFC 9111 section 5.2.1.4:"),
        (WITH_ETAG, make_request(pragma="no-cache"), 0, "RFC 9111 section 5.2.1.4:"),
        (WITH_ETAG, make_request(cache_control="max-age=1"), 5, "RFC 9111 section 5.2.1.1:"),
        (WITH_ETAG, make_request(cache_control="min-fresh=9"), 5, "RFC 9111 section 5.2.1.3:"),
        (WITH_ETAG, make_request(cache_control="no-store"), 0, "RFC 9111 section 5.2.1.5:"),
        (WITH_ETAG, make_request(if_match='"a"'), 0, "RFC 9111 section 4.3.2:"),
        (WITH_ETAG, make_request("POST"), 0, "RFC 9111 section 4: only GET"),
        (None, make_request(), 0, "RFC 9111 section 4: nothing"),
        ({"vary": "accept"}, make_request(accept="x"), 0, "RFC 9111 section 4.1:"),
        ({"cache_control": "max-age=1, stale-if-error=0"}, make_request(), 9_999, "RFC 9111 section 4.2.4:"),
    ],
)
def test_the_rule_of_a_lookup(
    stored: dict[str, str] | None, request_: CacheRequest, after: float, section: str
) -> None:
    stored_entry = None if stored is None else entry(pairs(**stored))
    assert lookup_rule(lookup(stored_entry, request_, NOW + after), request_).startswith(section)


@pytest.mark.parametrize(
    ("headers", "policy", "expected"),
    [
        ({"cache_control": "max-age=10"}, CachePolicy(), "stored for 10 s by RFC 9111 section 4.2.1: max-age"),
        ({"cache_control": "s-maxage=9"}, CachePolicy(), "stored for 9 s by RFC 9111 section 4.2.1: s-maxage"),
        ({"cdn_cache_control": "max-age=8"}, CachePolicy(), "stored for 8 s by RFC 9213 section 2.2: max-age"),
        ({"expires": IN_A_MINUTE.decode()}, CachePolicy(), "stored for 60 s by RFC 9111 section 5.3: Expires"),
        ({}, CachePolicy(ttl=7), "stored for 7 s by RFC 9111 section 4.2.2: the ttl of its route"),
        (
            {"last_modified": MINUTE_AGO.decode()},
            CachePolicy(ttl=0),
            "stored for 6 s by RFC 9111 section 4.2.2: its Last-Modified",
        ),
        (
            {"cache_control": "max-age=10"},
            CachePolicy(ttl=7, override=True),
            "stored for 7 s by the route's ttl, which overrides",
        ),
        (
            {"cache_control": "no-cache", "etag": '"a"'},
            CachePolicy(),
            "stored RFC 9111 section 5.2.2.4: no-cache, it is validated on each use",
        ),
        (
            {"cache_control": "no-store"},
            CachePolicy(),
            "not stored RFC 9111 section 5.2.2.5: the response says no-store",
        ),
        ({"cache_control": "private"}, CachePolicy(), "not stored RFC 9111 section 5.2.2.7: the response says private"),
        ({"set_cookie": "a=1"}, CachePolicy(), "not stored RFC 9111 section 7.3: the response sets a cookie"),
        ({}, CachePolicy(ttl=0), "not stored RFC 9111 section 3: the response has no freshness lifetime"),
    ],
)
def test_the_rule_of_storage(headers: dict[str, str], policy: CachePolicy, expected: str) -> None:
    response = CacheResponse(200, pairs(**headers), NOW)
    assert storage_rule(verdict(pairs(**headers), policy=policy), response, policy) == expected
