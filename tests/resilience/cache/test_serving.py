"""What a request may be given of what is stored, one rule of RFC 9111 at a time. Time is an argument."""

import pytest

from resilience.cache.messages import CacheRequest, Forward, Fresh, Miss, Stale
from resilience.cache.policy import CachePolicy
from resilience.cache.serving import bypass_reason, lookup, only_if_cached
from tests.resilience.cache.messages import (
    DATE,
    NOW,
    Headers,
    asked,
    entry,
    pairs,
)


class TestWhatIsFound:
    def test_nothing_is_a_miss_that_carries_the_fence(self) -> None:
        assert lookup(None, asked(), NOW, seq=7) == Miss(Forward.URI_MISS, 7)

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_a_fresh_answer_is_found_with_its_age(self, method: str) -> None:  # sections 4 and 5.1
        found = lookup(entry([]), asked(method), NOW + 12.7)
        assert isinstance(found, Fresh)
        assert found.age == 12

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    def test_other_methods_find_nothing(self, method: str) -> None:  # section 4
        assert lookup(entry([]), asked(method), NOW) == Miss(Forward.METHOD)

    def test_it_is_stale_at_the_end_of_its_lifetime_and_gone_after_the_rest(self) -> None:  # section 4.2
        kept = entry([])
        assert isinstance(lookup(kept, asked(), NOW + 299.9), Fresh)
        assert lookup(kept, asked(), NOW + 300, seq=3) == Stale(kept, 300, 3)
        assert isinstance(lookup(kept, asked(), NOW + 599.9), Stale)
        assert lookup(kept, asked(), NOW + 600) == Miss(Forward.STALE)

    @pytest.mark.parametrize("value", ["must-revalidate, max-age=60", "proxy-revalidate, max-age=60", "s-maxage=60"])
    def test_some_are_never_used_stale(self, value: str) -> None:  # sections 4.2.4, 5.2.2.2, 5.2.2.8 and 5.2.2.10
        kept = entry(pairs(cache_control=value))
        assert isinstance(lookup(kept, asked(), NOW + 59), Fresh)
        assert isinstance(lookup(kept, asked(), NOW + 60), Miss)

    def test_the_answer_may_say_how_long_it_is_good_when_stale(self) -> None:  # RFC 5861 section 4
        kept = entry(pairs(cache_control="max-age=60, stale-if-error=10"))
        assert isinstance(lookup(kept, asked(), NOW + 69), Stale)
        assert isinstance(lookup(kept, asked(), NOW + 70), Miss)

    @pytest.mark.parametrize(
        "request_",
        [
            asked(cache_control="no-store"),  # section 5.2.1.5
            asked(if_match='"a"'),  # section 4.3.2
            asked(if_unmodified_since=DATE.decode()),
        ],
    )
    def test_a_request_may_want_nothing_stored(self, request_: CacheRequest) -> None:
        assert lookup(entry([]), request_, NOW, seq=2) == Miss(Forward.REQUEST, 2)

    def test_pragma_counts_only_without_cache_control(self) -> None:  # section 5.4
        request = asked(cache_control="max-age=1000", pragma="no-cache")
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
    def test_a_request_may_want_it_younger_or_fresh_for_longer(self, value: str, fresh: bool) -> None:
        found = lookup(entry([]), asked(cache_control=value), NOW + 100, seq=4)
        assert isinstance(found, Fresh if fresh else Stale)
        if isinstance(found, Stale):
            assert found.seq == 4

    def test_another_variant_is_a_miss(self) -> None:  # section 4.1
        headers = pairs(vary="Accept-Language, accept-encoding")
        kept = entry(headers, asked(accept_language="de"))
        assert isinstance(lookup(kept, asked(accept_language="de"), NOW), Fresh)
        for other in (asked(accept_language="fr"), asked(), asked(accept_language="de", accept_encoding="br")):
            found = lookup(kept, other, NOW)
            assert isinstance(found, Miss)
            assert (found.reason, found.variant != kept.variant) == (Forward.VARY_MISS, True)

    def test_the_policy_may_add_to_vary(self) -> None:
        kept = entry([], asked(x_tenant="a"), policy=CachePolicy(vary=("X-Tenant",)))
        assert isinstance(lookup(kept, asked(x_tenant="a"), NOW), Fresh)
        assert isinstance(lookup(kept, asked(x_tenant="b"), NOW), Miss)

    def test_one_who_wants_it_younger_gets_none_that_must_not_be_stale(self) -> None:  # section 5.2.1.1
        kept = entry(pairs(cache_control="max-age=60, must-revalidate"))
        assert lookup(kept, asked(cache_control="max-age=5"), NOW + 60) == Miss(Forward.STALE)

    def test_a_clock_that_went_back_makes_no_negative_age(self) -> None:
        found = lookup(entry([]), asked(), NOW - 5)
        assert isinstance(found, Fresh)
        assert found.age == 0


class TestEveryRequestDirective:
    """RFC 9111 section 5.2.1, put to an answer of 300 s, `at` seconds old: what may be given to whom."""

    @pytest.mark.parametrize(
        ("section", "value", "at", "expected"),
        [
            ("5.2.1.1", "max-age=0", 0, "ask"),
            ("5.2.1.1", "max-age=0", 100, "ask"),
            ("5.2.1.1", "max-age=101", 100, "fresh"),
            ("5.2.1.1", 'max-age="101"', 100, "fresh"),
            ("5.2.1.1", "max-age=99", 100, "ask"),
            ("5.2.1.1", "max-age=x", 100, "ask"),
            ("5.2.1.1", "max-age=-1", 100, "ask"),
            ("5.2.1.1", "max-age=9999999999999", 100, "fresh"),
            ("5.2.1.1", "max-age=1000", 310, "stale"),
            ("5.2.1.2", "max-stale", 299, "fresh"),
            ("5.2.1.2", "max-stale", 310, "given stale"),
            ("5.2.1.2", "max-stale", 599, "given stale"),
            ("5.2.1.2", "max-stale=20", 310, "given stale"),
            ("5.2.1.2", "max-stale=10", 310, "given stale"),
            ("5.2.1.2", "max-stale=9", 310, "stale"),
            ("5.2.1.2", "max-stale=x", 310, "stale"),
            ("5.2.1.2", "max-stale=20, max-age=1000", 310, "given stale"),
            ("5.2.1.2", "max-stale=20, max-age=5", 310, "stale"),
            ("5.2.1.3", "min-fresh=200", 100, "fresh"),
            ("5.2.1.3", "min-fresh=201", 100, "ask"),
            ("5.2.1.3", "min-fresh=0", 100, "fresh"),
            ("5.2.1.3", "min-fresh=x", 100, "fresh"),
            ("5.2.1.3", "min-fresh=99999999999", 100, "ask"),
            ("5.2.1.4", "no-cache", 100, "ask"),
            ("5.2.1.4", "No-Cache", 100, "ask"),
            ("5.2.1.4", "no-cache, max-stale", 310, "ask"),
            ("5.2.1.5", "no-store", 100, "nothing"),
            ("5.2.1.5", "no-store, max-stale", 100, "nothing"),
            ("5.2.1.6", "no-transform", 100, "fresh"),
            ("5.2.1.7", "only-if-cached", 100, "fresh"),
            ("5.2.1.7", "only-if-cached", 310, "stale"),
            ("5.2.1.7", "only-if-cached, max-stale", 310, "given stale"),
            ("5.2.3", "x-unknown=5", 100, "fresh"),
            ("5.2.3", '"', 100, "fresh"),
        ],
    )
    def test_it_is_heard(self, section: str, value: str, at: float, expected: str) -> None:
        found = lookup(entry([]), asked(cache_control=value), NOW + at)
        match found:
            case Fresh(stale=False):
                said = "fresh"
            case Fresh():
                said = "given stale"
            case Stale(reason=Forward.REQUEST):
                said = "ask"
            case Stale():
                said = "stale"
            case Miss():
                said = "nothing"
        assert said == expected, section

    @pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "s-maxage=300"])
    def test_max_stale_moves_nothing_that_must_not_be_stale(self, directive: str) -> None:  # section 5.2.1.2
        kept = entry(pairs(cache_control=f"max-age=300, {directive}", etag='"a"'))
        found = lookup(kept, asked(cache_control="max-stale"), NOW + 310)
        assert isinstance(found, Stale)
        assert not found.usable

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
    def test_some_want_only_what_is_stored(self, headers: Headers, expected: bool) -> None:  # section 5.2.1.7
        assert only_if_cached(CacheRequest("GET", headers)) is expected

    @pytest.mark.parametrize(
        ("request_", "refused"),
        [
            (asked("GET"), None),
            (asked("HEAD"), None),
            (asked("POST"), Forward.METHOD),
            (asked("OPTIONS"), Forward.METHOD),
            (asked("PROPFIND"), Forward.METHOD),
            (asked("head"), Forward.METHOD),
            (asked(if_match="*"), Forward.REQUEST),
            (asked(if_unmodified_since=DATE.decode()), Forward.REQUEST),
            (asked(if_none_match='"a"'), None),
            (asked(range="bytes=0-1"), None),
            (asked(pragma="no-store"), None),
        ],
    )
    def test_what_is_none_of_the_caches_business(
        self, request_: CacheRequest, refused: Forward | None
    ) -> None:  # section 4
        assert bypass_reason(request_) == refused


class TestPastItsEnd:
    """RFC 9111 section 4.2.4, RFC 5861."""

    @pytest.mark.parametrize(
        ("control", "validator", "at", "expected"),
        [
            ("max-age=60", True, 59, "fresh"),
            ("max-age=60", True, 60, "usable"),
            ("max-age=60", True, 359, "usable"),
            ("max-age=60", True, 360, "to ask about"),
            ("max-age=60", True, 3_659, "to ask about"),
            ("max-age=60", True, 3_660, "gone"),
            ("max-age=60", False, 360, "gone"),
            ("max-age=60, must-revalidate", True, 60, "to ask about"),
            ("max-age=60, must-revalidate", False, 60, "gone"),
            ("max-age=60, stale-while-revalidate=30", False, 60, "renewed"),
            ("max-age=60, stale-while-revalidate=30", False, 89, "renewed"),
            ("max-age=60, stale-while-revalidate=30", False, 90, "usable"),
            ("max-age=60, stale-while-revalidate=30, must-revalidate", True, 61, "to ask about"),
            ("max-age=60, stale-if-error=10", False, 69, "usable"),
            ("max-age=60, stale-if-error=10", False, 70, "gone"),
            ("no-cache", True, 0, "to ask about"),
        ],
    )
    def test_what_it_is_good_for(self, control: str, validator: bool, at: float, expected: str) -> None:
        headers = pairs(cache_control=control, **({"etag": '"a"'} if validator else {}))
        found = lookup(entry(headers), asked(), NOW + at, seq=9)
        match found:
            case Fresh(refresh=True, stale=True, seq=9):
                said = "renewed"
            case Fresh():
                said = "fresh"
            case Stale(usable=True, seq=9):
                said = "usable"
            case Stale():
                said = "to ask about"
            case Miss():
                said = "gone"
        assert said == expected
