"""How long a response is fresh, and how long it may be used when stale, rule by rule. Time is an argument."""

import pytest

from resilience.cache.messages import CacheResponse, Fresh, Skip, Stale, Storable
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.serving import lookup
from resilience.cache.storing import may_store
from tests.resilience.cache.messages import (
    DATE,
    IN_A_MINUTE,
    MINUTE_AGO,
    NOW,
    Headers,
    entry,
    lifetime,
    make_request,
    pairs,
    verdict,
)


class TestFreshnessLifetime:
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
    def test_the_most_specific_directive_wins(self, headers: Headers, seconds: float | None) -> None:  # section 4.2.1
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
    def test_a_response_with_an_expired_or_malformed_lifetime_is_stale_at_once(self, headers: Headers) -> None:
        assert isinstance(lookup(entry(headers), make_request(), NOW), Stale)  # sections 4.2.1 and 5.3
        assert isinstance(verdict(headers, policy=CachePolicy(stale_if_error=0)), Skip)

    def test_the_policys_override_wins_over_directives(self) -> None:
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
    def test_the_initial_age_is_subtracted(self, headers: Headers, age: float) -> None:  # section 4.2.3
        headers = [*headers, (b"cache-control", b"max-age=100")]
        assert lifetime(headers) == 100 - age
        result = lookup(entry(headers), make_request(), NOW)
        assert isinstance(result, Fresh)
        assert result.age == age

    def test_the_response_delay_is_subtracted(self) -> None:  # section 4.2.3
        response = CacheResponse(200, pairs(cache_control="max-age=100", age="10"), NOW, delay=5)
        stored = may_store(make_request(), response, CachePolicy(), Scope.USER)
        assert isinstance(stored, Storable)
        assert stored.fresh_until - NOW == 85


DATE_FORMATS = [
    ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
    ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
    ("Sun Nov  6 08:49:37 1994", 784_111_777),
]


class TestExpires:
    """RFC 9111 section 5.3, RFC 9110 section 5.6.7."""

    @pytest.mark.parametrize(("text", "seconds"), DATE_FORMATS)
    def test_every_date_format_is_parsed(self, text: str, seconds: int) -> None:
        response = CacheResponse(200, pairs(expires=text), seconds - 10)
        storable = may_store(make_request(), response, CachePolicy(), Scope.USER)
        assert isinstance(storable, Storable)
        assert storable.fresh_until == seconds

    @pytest.mark.parametrize(
        "text",
        [
            "0",
            "-1",
            "",
            "never",
            "1700000060",
            "Tue, 14 Nov 2023 22:14:20",
            "Tue, 14 Nov 2023 22:14:20 UTC",
            "Tue, 14 Nov 2023 22:14:20 +0000",
            "Tue, 14-Nov-2023 22:14:20 GMT",
            "Tue, 14 Nov 2023 25:14:20 GMT",
            "Tue, 32 Nov 2023 22:14:20 GMT",
            "2023-11-14T22:14:20Z",
            "Tue, 14 Foo 2023 22:14:20 GMT",
            "\xff",
        ],
    )
    def test_a_malformed_date_is_in_the_past(self, text: str) -> None:
        assert isinstance(lookup(entry([(b"expires", text.encode("latin-1"))]), make_request(), NOW), Stale)

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            (pairs(expires=IN_A_MINUTE.decode(), cache_control="max-age=10"), 10),
            (pairs(expires=MINUTE_AGO.decode(), cache_control="max-age=10"), 10),
            (pairs(expires=IN_A_MINUTE.decode(), cache_control="s-maxage=10"), 10),
            (pairs(expires=IN_A_MINUTE.decode(), cache_control="public"), 60),
            (pairs(expires=IN_A_MINUTE.decode(), date=MINUTE_AGO.decode()), 60),
            (pairs(expires=IN_A_MINUTE.decode(), date="nonsense"), 60),
            (pairs(expires=IN_A_MINUTE.decode(), cdn_cache_control="max-age=10"), 10),
        ],
    )
    def test_its_precedence_among_directives(self, headers: Headers, seconds: float) -> None:
        assert lifetime(headers) == seconds

    def test_the_first_of_several_lines_counts(self) -> None:
        assert lifetime([(b"expires", IN_A_MINUTE), (b"expires", DATE)]) == 60


class TestHeuristicLifetime:
    """RFC 9111 section 4.2.2."""

    WEEK = 7 * 86_400

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            (pairs(last_modified="Tue, 14 Nov 2023 22:03:20 GMT"), 60),
            (pairs(last_modified="Tue, 14 Nov 2023 22:03:20 GMT", date=DATE.decode()), 60),
            (pairs(last_modified="Thu, 01 Jan 1970 00:00:00 GMT"), 86_400),
            (pairs(last_modified=IN_A_MINUTE.decode(), etag='"a"'), 0),
            (pairs(last_modified="nonsense"), None),
            (pairs(last_modified="Tue, 14 Nov 2023 22:03:20 GMT", cache_control="max-age=5"), 5),
            (pairs(last_modified="Tue, 14 Nov 2023 22:03:20 GMT", cache_control="public"), 60),
        ],
    )
    def test_without_a_ttl_it_depends_on_last_modified(self, headers: Headers, seconds: float | None) -> None:
        assert lifetime(headers, policy=CachePolicy(ttl=0)) == seconds

    @pytest.mark.parametrize(
        ("status", "seconds"), [(404, 60), (405, 60), (410, 60), (414, 60), (501, 60), (403, None), (302, None)]
    )
    def test_a_heuristically_cacheable_error_depends_on_last_modified_only(  # RFC 9110 section 15.1
        self, status: int, seconds: float | None
    ) -> None:
        changed = pairs(last_modified="Tue, 14 Nov 2023 22:03:20 GMT")
        assert lifetime(changed, status, CachePolicy(ttl=0)) == lifetime(changed, status) == seconds

    def test_the_policys_ttl_comes_first(self) -> None:
        assert lifetime(pairs(last_modified="Thu, 01 Jan 1970 00:00:00 GMT"), policy=CachePolicy(ttl=5)) == 5

    @pytest.mark.parametrize("status", [302, 307, 404, 410, 500])
    def test_public_allows_a_heuristic_for_any_status(self, status: int) -> None:
        assert lifetime(pairs(cache_control="public"), status) == 300
        assert lifetime([], status) is None


class TestAge:
    """RFC 9111 section 4.2.3: seconds left of a hundred."""

    @pytest.mark.parametrize(
        ("headers", "delay", "left"),
        [
            ([], 0, 100),
            ([], 7, 93),
            (pairs(age="30"), 0, 70),
            (pairs(age="30"), 7, 63),
            (pairs(age=" 30 "), 0, 70),
            (pairs(age="30, 10"), 0, 70),
            (pairs(age="30;x"), 0, 100),
            (pairs(age="3.5"), 0, 100),
            (pairs(age="-30"), 0, 100),
            (pairs(age=""), 0, 100),
            ([(b"age", b"30"), (b"age", b"10")], 0, 70),
            (pairs(date=MINUTE_AGO.decode()), 0, 40),
            (pairs(date=MINUTE_AGO.decode()), 7, 40),
            (pairs(date=MINUTE_AGO.decode(), age="30"), 0, 40),
            (pairs(date=MINUTE_AGO.decode(), age="80"), 0, 20),
            (pairs(date=IN_A_MINUTE.decode()), 0, 100),
            (pairs(date=IN_A_MINUTE.decode(), age="30"), 0, 70),
            (pairs(date="nonsense", age="30"), 0, 70),
        ],
    )
    def test_it_is_subtracted_from_the_lifetime(self, headers: Headers, delay: float, left: float) -> None:
        response = CacheResponse(200, [*headers, (b"cache-control", b"max-age=100")], NOW, delay)
        storable = may_store(make_request(), response, CachePolicy(), Scope.USER)
        assert isinstance(storable, Storable)
        assert storable.fresh_until - NOW == left

    @pytest.mark.parametrize("age", ["100", "500", "99999999999999999999"])
    def test_a_response_that_is_received_too_old_is_stale_at_once(self, age: str) -> None:
        assert isinstance(lookup(entry(pairs(age=age, cache_control="max-age=100")), make_request(), NOW), Stale)


class TestUseOfStaleResponses:
    """RFC 5861, RFC 9111 section 4.2.4. Seconds after its end."""

    @pytest.mark.parametrize(
        ("value", "policy", "refresh", "error"),
        [
            ("max-age=60", CachePolicy(), 0, 300),
            ("max-age=60", CachePolicy(stale_while_revalidate=30), 30, 300),
            ("max-age=60, stale-while-revalidate=10", CachePolicy(), 10, 300),
            ("max-age=60, stale-while-revalidate=10", CachePolicy(stale_while_revalidate=30), 10, 300),
            ("max-age=60, stale-while-revalidate=0", CachePolicy(stale_while_revalidate=30), 0, 300),
            ("max-age=60, stale-while-revalidate=x", CachePolicy(stale_while_revalidate=30), 0, 300),
            ("max-age=60, stale-if-error=10", CachePolicy(), 0, 10),
            ("max-age=60, stale-if-error=900", CachePolicy(), 0, 900),
            ("max-age=60, stale-if-error", CachePolicy(), 0, 0),
            ("max-age=60, must-revalidate", CachePolicy(stale_while_revalidate=30), 0, 0),
            ("max-age=60, proxy-revalidate", CachePolicy(stale_while_revalidate=30), 0, 0),
            ("s-maxage=60", CachePolicy(stale_while_revalidate=30), 0, 0),
            ("s-maxage=60, stale-while-revalidate=10, stale-if-error=10", CachePolicy(), 0, 0),
            ("max-age=60, must-revalidate, stale-if-error=10", CachePolicy(), 0, 0),
        ],
    )
    def test_how_long_it_may_be_used(self, value: str, policy: CachePolicy, refresh: float, error: float) -> None:
        storable = verdict(pairs(cache_control=value), policy=policy)
        assert isinstance(storable, Storable)
        freshness = storable.freshness
        assert (freshness.refresh_until - freshness.fresh_until, freshness.stale_until - freshness.fresh_until) == (
            refresh,
            error,
        )

    def test_a_response_with_a_validator_is_kept_for_validation(self) -> None:  # section 4.3.1
        for validator in ({"etag": '"a"'}, {"last_modified": DATE.decode()}):
            storable = verdict(pairs(cache_control="max-age=60, must-revalidate", **validator))
            assert isinstance(storable, Storable)
            assert storable.freshness.kept_until > storable.freshness.stale_until == storable.freshness.fresh_until


class TestTargetedControl:
    """RFC 9213."""

    @pytest.mark.parametrize(
        ("targeted", "seconds"),
        [
            ("max-age=10", 10),
            ("max-age=10, s-maxage=20", 20),
            ("max-age=10;ext=1", 10),
            ("max-age=10, private=?0", 10),
            ("max-age=10, private", None),
            ("max-age=10, no-store=?0", 10),
            ("no-store", None),
            ("MAX-AGE=10", 60),
            ("max-age=10,", 60),
            ("max-age 10", 60),
            ('max-age="10"', 60),
            ("max-age=1.5", 60),
            ("max-age=-1", 0),
            ("must-revalidate", 300),
        ],
    )
    def test_it_is_parsed_strictly_and_takes_precedence(self, targeted: str, seconds: float | None) -> None:
        headers = pairs(cdn_cache_control=targeted, cache_control="max-age=60")
        if seconds == 0:
            assert isinstance(lookup(entry(headers), make_request(), NOW), Stale)
        else:
            assert lifetime(headers) == seconds
