"""RFC 9111 as this cache keeps it, one rule at a time. Time is an argument."""

import pytest

from resilience.cache.entry import Entry
from resilience.cache.messages import Answered, Asked, Forward, Fresh, Miss, Skip, Stale, Storable
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.serving import lookup
from resilience.cache.storing import is_whole, may_store

NOW = 1_700_000_000.0
DATE = b"Tue, 14 Nov 2023 22:13:20 GMT"  # NOW
MINUTE_AGO = b"Tue, 14 Nov 2023 22:12:20 GMT"
IN_A_MINUTE = b"Tue, 14 Nov 2023 22:14:20 GMT"

Headers = list[tuple[bytes, bytes]]


def asked(method: str = "GET", *, authenticated: bool = False, **headers: str) -> Asked:
    return Asked(method, pairs(**headers), authenticated)


def pairs(**headers: str) -> Headers:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]


def verdict(
    headers: Headers,
    status: int = 200,
    request: Asked | None = None,
    policy: CachePolicy | None = None,
    scope: Scope = Scope.USER,
) -> Storable | Skip:
    return may_store(request or asked(), Answered(status, headers, NOW), policy or CachePolicy(), scope)


def lifetime(headers: Headers, status: int = 200, policy: CachePolicy | None = None) -> float | None:
    """Seconds from now that the answer stays fresh; None if it is not stored."""
    stored = verdict(headers, status, policy=policy)
    return None if isinstance(stored, Skip) else stored.fresh_until - NOW


def entry(
    headers: Headers, request: Asked | None = None, status: int = 200, policy: CachePolicy | None = None
) -> Entry:
    stored = verdict(headers, status, request, policy)
    assert isinstance(stored, Storable)
    return Entry(
        status=status,
        headers=stored.headers,
        body=b"",
        stored_at=NOW,
        born=stored.times.born,
        fresh_until=stored.times.fresh_until,
        refresh_until=stored.times.refresh_until,
        stale_until=stored.times.stale_until,
        kept_until=stored.times.kept_until,
        strict=stored.times.strict,
        vary=stored.vary,
        variant=stored.variant,
    )


class TestWhatIsStored:
    @pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"])
    def test_only_get_is_stored(self, method: str) -> None:  # section 3
        assert isinstance(verdict(pairs(cache_control="max-age=60"), request=asked(method)), Skip)

    @pytest.mark.parametrize("value", ["no-store", "No-Store", "private", "private=", "no-cache"])
    def test_what_the_answer_forbids_is_not_stored(self, value: str) -> None:  # sections 5.2.2.4, 5.2.2.5, 5.2.2.7
        assert isinstance(verdict(pairs(cache_control=f"max-age=60, {value}")), Skip)

    @pytest.mark.parametrize("value", ["no-store", "private"])
    def test_an_override_does_not_lift_it(self, value: str) -> None:
        policy = CachePolicy(ttl=60, override=True)
        assert isinstance(verdict(pairs(cache_control=value), policy=policy), Skip)

    def test_what_the_request_forbids_is_not_stored(self) -> None:  # section 5.2.1.5
        request = asked(cache_control="no-store")
        assert verdict(pairs(cache_control="max-age=60"), request=request) == Skip("the request says no-store")

    def test_a_cookie_is_never_stored(self) -> None:  # section 7.3
        assert isinstance(verdict(pairs(cache_control="public, max-age=60", set_cookie="a=b")), Skip)

    @pytest.mark.parametrize("value", ["*", "accept, *", " * "])
    def test_vary_by_everything_is_not_stored(self, value: str) -> None:  # section 4.1
        assert isinstance(verdict(pairs(cache_control="max-age=60", vary=value)), Skip)

    @pytest.mark.parametrize("status", [100, 103, 206, 304])
    def test_part_of_an_answer_is_not_stored(self, status: int) -> None:  # sections 3 and 3.3
        assert lifetime(pairs(cache_control="max-age=60"), status) is None

    @pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308])
    def test_the_ttl_is_for_answers_that_say_nothing(self, status: int) -> None:  # section 4.2.2
        assert lifetime([], status) == 300

    @pytest.mark.parametrize("status", [201, 302, 307, 400, 401, 403, 404, 405, 410, 414, 429, 500, 501, 503])
    def test_other_statuses_must_say_themselves_how_long(self, status: int) -> None:  # section 3
        assert lifetime([], status) is None
        assert lifetime([], status, CachePolicy(override=True)) is None
        assert lifetime(pairs(cache_control="max-age=60"), status) == 60

    def test_with_a_ttl_of_zero_only_what_says_so_is_stored(self) -> None:
        policy = CachePolicy(ttl=0)
        assert lifetime([], policy=policy) is None
        assert lifetime(pairs(cache_control="max-age=60"), policy=policy) == 60
        assert lifetime(pairs(cache_control="max-age=60"), policy=CachePolicy(ttl=0, override=True)) == 60

    def test_a_body_cut_short_is_not_whole(self) -> None:  # section 3.3
        assert is_whole(pairs(content_length="5"), 5)
        assert is_whole([], 5)
        assert not is_whole(pairs(content_length="6"), 5)
        assert not is_whole(pairs(content_length="x"), 5)


class TestHowLongItIsFresh:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            (pairs(cache_control="max-age=60"), 60),
            (pairs(cache_control="max-age=60, s-maxage=5"), 5),  # section 5.2.2.10
            (pairs(cache_control="max-age=60", expires=DATE.decode(), date=DATE.decode()), 60),  # section 5.3
            (pairs(expires=IN_A_MINUTE.decode(), date=DATE.decode()), 60),
            (pairs(expires=IN_A_MINUTE.decode()), 60),
            (pairs(cdn_cache_control="max-age=600", cache_control="max-age=60, s-maxage=5"), 600),  # RFC 9213
            (pairs(cdn_cache_control="max-age=600, s-maxage=7"), 7),
            (pairs(cdn_cache_control="max-age=600, &&", cache_control="max-age=60"), 60),
            (pairs(cdn_cache_control="", cache_control="max-age=60"), 60),
            (pairs(cdn_cache_control="max-age=600", cache_control="no-store"), 600),  # RFC 9213 section 2.2
            (pairs(cdn_cache_control="no-store", cache_control="max-age=60"), None),
            (pairs(cdn_cache_control="stale-if-error=9", expires=DATE.decode()), 300),
            (pairs(cache_control="max-age=9999999999999"), 2**31),
            (pairs(cache_control="public"), 300),
        ],
    )
    def test_the_most_specific_word_wins(self, headers: Headers, seconds: float | None) -> None:  # section 4.2.1
        assert lifetime(headers) == seconds

    @pytest.mark.parametrize(
        "headers",
        [
            pairs(cache_control="max-age=0"),
            pairs(cache_control="max-age=-5"),
            pairs(cache_control="max-age=60, max-age=10"),
            pairs(expires="0"),
            pairs(expires=MINUTE_AGO.decode(), date=DATE.decode()),
        ],
    )
    def test_what_is_stale_or_nonsense_is_good_only_when_the_backend_fails(self, headers: Headers) -> None:
        assert isinstance(lookup(entry(headers), asked(), NOW), Stale)  # sections 4.2.1 and 5.3
        assert isinstance(verdict(headers, policy=CachePolicy(stale_if_error=0)), Skip)

    def test_an_override_wins_over_the_backends_word(self) -> None:
        policy = CachePolicy(ttl=30, override=True)
        assert lifetime(pairs(cache_control="max-age=600"), policy=policy) == 30
        assert lifetime(pairs(cdn_cache_control="s-maxage=600"), policy=policy) == 30

    @pytest.mark.parametrize(
        ("headers", "age"),
        [
            (pairs(age="20"), 20),
            (pairs(age="20, 5"), 20),  # section 5.1: the first
            (pairs(age="old"), 0),
            (pairs(age="-20"), 0),
            (pairs(date=MINUTE_AGO.decode()), 60),
            (pairs(date=MINUTE_AGO.decode(), age="70"), 70),
            (pairs(date=IN_A_MINUTE.decode()), 0),
            (pairs(date="yesterday"), 0),
        ],
    )
    def test_the_age_it_came_with_is_taken_off(self, headers: Headers, age: float) -> None:  # section 4.2.3
        headers = [*headers, (b"cache-control", b"max-age=100")]
        assert lifetime(headers) == 100 - age
        found = lookup(entry(headers), asked(), NOW)
        assert isinstance(found, Fresh)
        assert found.age == age

    def test_the_time_it_took_to_come_is_taken_off(self) -> None:  # section 4.2.3
        answered = Answered(200, pairs(cache_control="max-age=100", age="10"), NOW, delay=5)
        stored = may_store(asked(), answered, CachePolicy(), Scope.USER)
        assert isinstance(stored, Storable)
        assert stored.fresh_until - NOW == 85


class TestWhoMaySeeIt:
    @pytest.mark.parametrize("value", ["public", "s-maxage=60", "must-revalidate, max-age=60"])
    def test_an_authenticated_answer_is_shared_when_it_says_so(self, value: str) -> None:  # section 3.5
        request = asked(authenticated=True, authorization="Bearer x")
        assert isinstance(verdict(pairs(cache_control=value), request=request, scope=Scope.SHARED), Storable)

    @pytest.mark.parametrize("scope", [Scope.TENANT, Scope.SHARED])
    def test_else_it_goes_no_wider_than_its_route_says(self, scope: Scope) -> None:  # section 3.5
        headers, request = pairs(cache_control="max-age=60"), asked(authenticated=True)
        assert isinstance(verdict(headers, request=request, scope=scope), Skip)
        assert isinstance(verdict(headers, request=request, scope=scope, policy=CachePolicy(scope=scope)), Storable)
        assert isinstance(verdict(headers, request=asked(), scope=scope), Storable)

    def test_under_the_callers_own_key_it_is_stored(self) -> None:
        assert isinstance(verdict([], request=asked(authenticated=True)), Storable)


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
    def test_a_request_may_want_nothing_stored(self, request_: Asked) -> None:
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
