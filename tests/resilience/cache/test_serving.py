"""Whether a stored response may be used, by each rule of RFC 9111. Time is an argument."""

import pytest

from resilience.cache.messages import CacheRequest, Forward, Fresh, Miss, Stale
from resilience.cache.policy import CachePolicy
from resilience.cache.serving import bypass_reason, lookup, only_if_cached
from tests.resilience.cache.messages import (
    DATE,
    NOW,
    Headers,
    entry,
    make_request,
    pairs,
)


class TestLookup:
    def test_no_entry_is_a_miss_with_the_fence(self) -> None:
        assert lookup(None, make_request(), NOW, seq=7) == Miss(Forward.URI_MISS, 7)

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_a_fresh_response_is_found_with_its_age(self, method: str) -> None:  # sections 4 and 5.1
        result = lookup(entry([]), make_request(method), NOW + 12.7)
        assert isinstance(result, Fresh)
        assert result.age == 12

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    def test_other_methods_are_misses(self, method: str) -> None:  # section 4
        assert lookup(entry([]), make_request(method), NOW) == Miss(Forward.METHOD)

    def test_it_is_stale_after_its_lifetime_and_a_miss_after_that(self) -> None:  # section 4.2
        stored = entry([])
        assert isinstance(lookup(stored, make_request(), NOW + 299.9), Fresh)
        assert lookup(stored, make_request(), NOW + 300, seq=3) == Stale(stored, 300, 3)
        assert isinstance(lookup(stored, make_request(), NOW + 599.9), Stale)
        assert lookup(stored, make_request(), NOW + 600) == Miss(Forward.STALE)

    @pytest.mark.parametrize("value", ["must-revalidate, max-age=60", "proxy-revalidate, max-age=60", "s-maxage=60"])
    def test_some_responses_are_never_used_stale(
        self, value: str
    ) -> None:  # sections 4.2.4, 5.2.2.2, 5.2.2.8 and 5.2.2.10
        stored = entry(pairs(cache_control=value))
        assert isinstance(lookup(stored, make_request(), NOW + 59), Fresh)
        assert isinstance(lookup(stored, make_request(), NOW + 60), Miss)

    def test_the_response_may_say_how_long_it_is_usable_when_stale(self) -> None:  # RFC 5861 section 4
        stored = entry(pairs(cache_control="max-age=60, stale-if-error=10"))
        assert isinstance(lookup(stored, make_request(), NOW + 69), Stale)
        assert isinstance(lookup(stored, make_request(), NOW + 70), Miss)

    @pytest.mark.parametrize(
        "request_",
        [
            make_request(cache_control="no-store"),  # section 5.2.1.5
            make_request(if_match='"a"'),  # section 4.3.2
            make_request(if_unmodified_since=DATE.decode()),
        ],
    )
    def test_a_request_may_bypass_the_cache(self, request_: CacheRequest) -> None:
        assert lookup(entry([]), request_, NOW, seq=2) == Miss(Forward.REQUEST, 2)

    def test_pragma_counts_only_without_cache_control(self) -> None:  # section 5.4
        request = make_request(cache_control="max-age=1000", pragma="no-cache")
        assert isinstance(lookup(entry([]), request, NOW), Fresh)

    @pytest.mark.parametrize(
        ("value", "fresh"),
        [
            ("max-age=0", False),  # section 5.2.1.1
            ("max-age=100", False),
            ("max-age=101", True),
            ("max-age=soon", False),
            ("min-fresh=200", True),  # section 5.2.1.3
            ("min-fresh=201", False),
            ("max-stale=900", True),
            ("max-age=101, min-fresh=201", False),
            ("only-this-cache-knows", True),
        ],
    )
    def test_a_request_may_demand_a_younger_or_longer_fresh_response(self, value: str, fresh: bool) -> None:
        result = lookup(entry([]), make_request(cache_control=value), NOW + 100, seq=4)
        assert isinstance(result, Fresh if fresh else Stale)
        if isinstance(result, Stale):
            assert result.seq == 4

    def test_another_variant_is_a_miss(self) -> None:  # section 4.1
        headers = pairs(vary="Accept-Language, accept-encoding")
        stored = entry(headers, make_request(accept_language="de"))
        assert isinstance(lookup(stored, make_request(accept_language="de"), NOW), Fresh)
        for other in (
            make_request(accept_language="fr"),
            make_request(),
            make_request(accept_language="de", accept_encoding="br"),
        ):
            result = lookup(stored, other, NOW)
            assert isinstance(result, Miss)
            assert (result.reason, result.variant != stored.variant) == (Forward.VARY_MISS, True)

    def test_the_policy_may_add_to_vary(self) -> None:
        stored = entry([], make_request(x_tenant="a"), policy=CachePolicy(vary=("X-Tenant",)))
        assert isinstance(lookup(stored, make_request(x_tenant="a"), NOW), Fresh)
        assert isinstance(lookup(stored, make_request(x_tenant="b"), NOW), Miss)

    def test_a_demand_for_a_younger_response_does_not_allow_a_forbidden_stale_one(self) -> None:  # section 5.2.1.1
        stored = entry(pairs(cache_control="max-age=60, must-revalidate"))
        assert lookup(stored, make_request(cache_control="max-age=5"), NOW + 60) == Miss(Forward.STALE)

    def test_a_clock_that_is_set_back_makes_no_negative_age(self) -> None:
        result = lookup(entry([]), make_request(), NOW - 5)
        assert isinstance(result, Fresh)
        assert result.age == 0


class TestEveryRequestDirective:
    """RFC 9111 section 5.2.1, for a stored response with a lifetime of 300 s that is `at` seconds old."""

    @pytest.mark.parametrize(
        ("section", "value", "at", "expected"),
        [
            ("5.2.1.1", "max-age=0", 0, "validate"),
            ("5.2.1.1", "max-age=0", 100, "validate"),
            ("5.2.1.1", "max-age=101", 100, "fresh"),
            ("5.2.1.1", 'max-age="101"', 100, "fresh"),
            ("5.2.1.1", "max-age=99", 100, "validate"),
            ("5.2.1.1", "max-age=x", 100, "validate"),
            ("5.2.1.1", "max-age=-1", 100, "validate"),
            ("5.2.1.1", "max-age=9999999999999", 100, "fresh"),
            ("5.2.1.1", "max-age=1000", 310, "stale"),
            ("5.2.1.2", "max-stale", 299, "fresh"),
            ("5.2.1.2", "max-stale", 310, "stale allowed"),
            ("5.2.1.2", "max-stale", 599, "stale allowed"),
            ("5.2.1.2", "max-stale=20", 310, "stale allowed"),
            ("5.2.1.2", "max-stale=10", 310, "stale allowed"),
            ("5.2.1.2", "max-stale=9", 310, "stale"),
            ("5.2.1.2", "max-stale=x", 310, "stale"),
            ("5.2.1.2", "max-stale=20, max-age=1000", 310, "stale allowed"),
            ("5.2.1.2", "max-stale=20, max-age=5", 310, "stale"),
            ("5.2.1.3", "min-fresh=200", 100, "fresh"),
            ("5.2.1.3", "min-fresh=201", 100, "validate"),
            ("5.2.1.3", "min-fresh=0", 100, "fresh"),
            ("5.2.1.3", "min-fresh=x", 100, "fresh"),
            ("5.2.1.3", "min-fresh=99999999999", 100, "validate"),
            ("5.2.1.4", "no-cache", 100, "validate"),
            ("5.2.1.4", "No-Cache", 100, "validate"),
            ("5.2.1.4", "no-cache, max-stale", 310, "validate"),
            ("5.2.1.5", "no-store", 100, "miss"),
            ("5.2.1.5", "no-store, max-stale", 100, "miss"),
            ("5.2.1.6", "no-transform", 100, "fresh"),
            ("5.2.1.7", "only-if-cached", 100, "fresh"),
            ("5.2.1.7", "only-if-cached", 310, "stale"),
            ("5.2.1.7", "only-if-cached, max-stale", 310, "stale allowed"),
            ("5.2.3", "x-unknown=5", 100, "fresh"),
            ("5.2.3", '"', 100, "fresh"),
        ],
    )
    def test_it_is_obeyed(self, section: str, value: str, at: float, expected: str) -> None:
        result = lookup(entry([]), make_request(cache_control=value), NOW + at)
        match result:
            case Fresh(stale=False):
                actual = "fresh"
            case Fresh():
                actual = "stale allowed"
            case Stale(reason=Forward.REQUEST):
                actual = "validate"
            case Stale():
                actual = "stale"
            case Miss():
                actual = "miss"
        assert actual == expected, section

    @pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "s-maxage=300"])
    def test_max_stale_does_not_allow_a_forbidden_stale_response(self, directive: str) -> None:  # section 5.2.1.2
        stored = entry(pairs(cache_control=f"max-age=300, {directive}", etag='"a"'))
        result = lookup(stored, make_request(cache_control="max-stale"), NOW + 310)
        assert isinstance(result, Stale)
        assert not result.usable

    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            (pairs(cache_control="only-if-cached"), True),
            (pairs(cache_control="max-age=5, Only-If-Cached"), True),
            (pairs(cache_control="x-only-if-cached"), False),
            (pairs(pragma="only-if-cached"), False),
            ([], False),
        ],
    )
    def test_only_if_cached_is_recognised(self, headers: Headers, expected: bool) -> None:  # section 5.2.1.7
        assert only_if_cached(CacheRequest("GET", headers)) is expected

    @pytest.mark.parametrize(
        ("request_", "expected"),
        [
            (make_request("GET"), None),
            (make_request("HEAD"), None),
            (make_request("POST"), Forward.METHOD),
            (make_request("OPTIONS"), Forward.METHOD),
            (make_request("PROPFIND"), Forward.METHOD),
            (make_request("head"), Forward.METHOD),
            (make_request(if_match="*"), Forward.REQUEST),
            (make_request(if_unmodified_since=DATE.decode()), Forward.REQUEST),
            (make_request(if_none_match='"a"'), None),
            (make_request(range="bytes=0-1"), None),
            (make_request(pragma="no-store"), None),
        ],
    )
    def test_which_requests_bypass_the_cache(
        self, request_: CacheRequest, expected: Forward | None
    ) -> None:  # section 4
        assert bypass_reason(request_) == expected


class TestStaleResponses:
    """RFC 9111 section 4.2.4, RFC 5861."""

    @pytest.mark.parametrize(
        ("control", "validator", "at", "expected"),
        [
            ("max-age=60", True, 59, "fresh"),
            ("max-age=60", True, 60, "usable"),
            ("max-age=60", True, 359, "usable"),
            ("max-age=60", True, 360, "to validate"),
            ("max-age=60", True, 3_659, "to validate"),
            ("max-age=60", True, 3_660, "miss"),
            ("max-age=60", False, 360, "miss"),
            ("max-age=60, must-revalidate", True, 60, "to validate"),
            ("max-age=60, must-revalidate", False, 60, "miss"),
            ("max-age=60, stale-while-revalidate=30", False, 60, "to refresh"),
            ("max-age=60, stale-while-revalidate=30", False, 89, "to refresh"),
            ("max-age=60, stale-while-revalidate=30", False, 90, "usable"),
            ("max-age=60, stale-while-revalidate=30, must-revalidate", True, 61, "to validate"),
            ("max-age=60, stale-if-error=10", False, 69, "usable"),
            ("max-age=60, stale-if-error=10", False, 70, "miss"),
            ("no-cache", True, 0, "to validate"),
        ],
    )
    def test_how_it_may_be_used(self, control: str, validator: bool, at: float, expected: str) -> None:
        headers = pairs(cache_control=control, **({"etag": '"a"'} if validator else {}))
        result = lookup(entry(headers), make_request(), NOW + at, seq=9)
        match result:
            case Fresh(refresh=True, stale=True, seq=9):
                actual = "to refresh"
            case Fresh():
                actual = "fresh"
            case Stale(usable=True, seq=9):
                actual = "usable"
            case Stale():
                actual = "to validate"
            case Miss():
                actual = "miss"
        assert actual == expected
