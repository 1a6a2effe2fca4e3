"""Every decision names its rule: what was given, what was not, what is kept and what is not."""

import pytest

from resilience.cache.messages import CacheRequest, CacheResponse
from resilience.cache.policy import CachePolicy
from resilience.cache.rationale import lookup_rule, storage_rule
from resilience.cache.serving import lookup
from tests.resilience.cache.messages import IN_A_MINUTE, MINUTE_AGO, NOW, asked, entry, pairs, verdict

TAGGED = {"etag": '"a"', "cache_control": "max-age=10"}
STRICT = {"etag": '"a"', "cache_control": "max-age=10, must-revalidate"}


@pytest.mark.parametrize(
    ("stored", "request_", "after", "section"),
    [
        (TAGGED, asked(), 0, "RFC 9111 section 4.2:"),
        (TAGGED, asked(cache_control="max-stale"), 11, "RFC 9111 section 5.2.1.2:"),
        ({"cache_control": "max-age=10, stale-while-revalidate=9"}, asked(), 11, "RFC 5861 section 3:"),
        (TAGGED, asked(), 11, "RFC 9111 section 4.3:"),
        (STRICT, asked(), 11, "RFC 9111 section 4.2.4:"),
        (TAGGED, asked(cache_control="no-cache"), 0, "RFC 9111 section 5.2.1.4:"),
        (TAGGED, asked(pragma="no-cache"), 0, "RFC 9111 section 5.2.1.4:"),
        (TAGGED, asked(cache_control="max-age=1"), 5, "RFC 9111 section 5.2.1.1:"),
        (TAGGED, asked(cache_control="min-fresh=9"), 5, "RFC 9111 section 5.2.1.3:"),
        (TAGGED, asked(cache_control="no-store"), 0, "RFC 9111 section 5.2.1.5:"),
        (TAGGED, asked(if_match='"a"'), 0, "RFC 9111 section 4.3.2:"),
        (TAGGED, asked("POST"), 0, "RFC 9111 section 4: only GET"),
        (None, asked(), 0, "RFC 9111 section 4: nothing"),
        ({"vary": "accept"}, asked(accept="x"), 0, "RFC 9111 section 4.1:"),
        ({"cache_control": "max-age=1, stale-if-error=0"}, asked(), 9_999, "RFC 9111 section 4.2.4:"),
    ],
)
def test_what_is_given_or_not(
    stored: dict[str, str] | None, request_: CacheRequest, after: float, section: str
) -> None:
    there = None if stored is None else entry(pairs(**stored))
    assert lookup_rule(lookup(there, request_, NOW + after), request_).startswith(section)


@pytest.mark.parametrize(
    ("headers", "policy", "said"),
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
def test_what_is_kept_or_not(headers: dict[str, str], policy: CachePolicy, said: str) -> None:
    answered = CacheResponse(200, pairs(**headers), NOW)
    assert storage_rule(verdict(pairs(**headers), policy=policy), answered, policy) == said
