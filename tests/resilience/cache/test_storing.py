"""What may be kept and for how long, one rule of RFC 9111 at a time. Time is an argument."""

import pytest

from resilience.cache.messages import Answered, Fresh, Skip, Stale, Storable
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.serving import lookup
from resilience.cache.storing import is_whole, may_store
from tests.resilience.cache.answers import (
    DATE,
    IN_A_MINUTE,
    MINUTE_AGO,
    NOW,
    Headers,
    asked,
    entry,
    lifetime,
    pairs,
    verdict,
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


EPOCH_FORMS = [
    ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
    ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
    ("Sun Nov  6 08:49:37 1994", 784_111_777),
]


class TestEveryResponseDirective:
    """RFC 9111 section 5.2.2: how long an answer is fresh, None where it is not kept."""

    @pytest.mark.parametrize(
        ("section", "value", "seconds"),
        [
            ("5.2.2.1", "max-age=60", 60),
            ("5.2.2.1", "Max-Age=60", 60),
            ("5.2.2.1", "MAX-AGE=60", 60),
            ("5.2.2.1", 'max-age="60"', 60),
            ("5.2.2.1", "max-age=060", 60),
            ("5.2.2.1", "max-age =60", 60),
            ("5.2.2.1", "max-age= 60", 60),
            ("5.2.2.1", ", , max-age=60,", 60),
            ("4.2.1", "max-age=60;", 0),
            ("5.2.2.1", "public max-age=60", 60),
            ("5.2.2.1", 'x="max-age=5", max-age=60', 60),
            ("5.2.2.1", r'x="a\"b, max-age=5", max-age=60', 60),
            ("5.2.2.1", "x-max-age=5, max-age=60", 60),
            ("5.2.2.1", "max-age=60, max-age=60", 60),
            ("4.2.1", "max-age=60, max-age=600", 0),
            ("4.2.1", "max-age", 0),
            ("4.2.1", "max-age=", 0),
            ("4.2.1", "max-age=-60", 0),
            ("4.2.1", "max-age=60.5", 0),
            ("4.2.1", "max-age=6e1", 0),
            ("4.2.1", "max-age=0x3c", 0),
            ("4.2.1", "max-age=+60", 0),
            ("4.2.1", "max-age=soon", 0),
            ("4.2.1", "max-age='60'", 0),
            ("1.2.2", "max-age=2147483648", 2**31),
            ("1.2.2", "max-age=99999999999999999999", 2**31),
            ("1.2.2", "max-age=0000000000000000060", 60),
            ("5.2.2.10", "s-maxage=60", 60),
            ("5.2.2.10", "s-maxage=60, max-age=600", 60),
            ("5.2.2.10", "max-age=600, s-maxage=60", 60),
            ("5.2.2.10", "S-MaxAge=60, max-age=600", 60),
            ("5.2.2.9", "public", 300),
            ("5.2.2.9", "public, max-age=60", 60),
            ("5.2.2.7", "private", None),
            ("5.2.2.7", "private, max-age=60", None),
            ("5.2.2.7", 'private=""', None),
            ("5.2.2.7", 'private="x-name"', 300),
            ("5.2.2.7", "private=x-name, max-age=60", 60),
            ("5.2.2.7", 'private, private="x-name"', None),
            ("5.2.2.5", "no-store", None),
            ("5.2.2.5", "NO-STORE", None),
            ("5.2.2.5", "no-store=", None),
            ("5.2.2.5", "no-store, max-age=60", None),
            ("5.2.2.5", 'x="no-store"', 300),
            ("5.2.2.5", "no-stored", 300),
            ("5.2.2.3", "must-understand", 300),
            ("5.2.2.3", "must-understand, no-store, max-age=60", 60),
            ("5.2.2.3", "no-store, must-understand", 300),
            ("5.2.2.4", "no-cache", None),
            ("5.2.2.4", "no-cache, max-age=60", None),
            ("5.2.2.4", 'no-cache="x-name", max-age=60', 60),
            ("5.2.2.2", "must-revalidate", 300),
            ("5.2.2.8", "proxy-revalidate, max-age=60", 60),
            ("5.2.2.6", "no-transform, max-age=60", 60),
            ("5.2.3", 'community="UCI", max-age=60', 60),
            ("5.2.3", "immutable, max-age=60", 60),
            ("5.2.3", "a=b=c, max-age=60", 60),
            ("5.2", "", 300),
            ("5.2", '"', 300),
            ("5.2", "=60", 300),
            ("5.2", 'max-age="60', 0),
        ],
    )
    def test_a_directive_is_read_as_it_is_meant(self, section: str, value: str, seconds: float | None) -> None:
        if seconds == 0:
            assert isinstance(lookup(entry(pairs(cache_control=value)), asked(), NOW), Stale), section
        else:
            assert lifetime(pairs(cache_control=value)) == seconds, section

    @pytest.mark.parametrize(
        ("lines", "seconds"),
        [
            (["max-age=60", "public"], 60),
            (["public", "max-age=60"], 60),
            (["max-age=60", "no-store"], None),
            (["no-store", "max-age=60"], None),
            (["max-age=600", "s-maxage=60"], 60),
        ],
    )
    def test_several_lines_are_one_list(self, lines: list[str], seconds: float | None) -> None:  # section 5.2
        assert lifetime([(b"cache-control", line.encode()) for line in lines]) == seconds

    @pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 451, 501])
    def test_what_must_be_understood_is_kept_where_it_is(self, status: int) -> None:  # section 5.2.2.3
        assert lifetime(pairs(cache_control="must-understand, no-store, max-age=60"), status) == 60

    @pytest.mark.parametrize("status", [201, 202, 205, 226, 299, 400, 418, 429, 500, 502, 503, 599])
    def test_and_not_where_it_is_not(self, status: int) -> None:  # section 5.2.2.3
        assert lifetime(pairs(cache_control="must-understand, max-age=60"), status) is None

    @pytest.mark.parametrize("value", ["no-cache", "no-cache, max-age=60", "no-cache="])
    @pytest.mark.parametrize("validator", [{"etag": '"a"'}, {"last_modified": MINUTE_AGO.decode()}])
    def test_no_cache_is_kept_to_be_asked_about(self, value: str, validator: dict[str, str]) -> None:  # 5.2.2.4
        found = lookup(entry(pairs(cache_control=value, **validator)), asked(), NOW)
        assert isinstance(found, Stale)
        assert not found.usable

    @pytest.mark.parametrize("directive", ["no-cache", "private"])
    @pytest.mark.parametrize("named", ['"set-cookie"', '"Set-Cookie, X-Name"', "set-cookie"])
    def test_named_fields_are_left_out_and_the_rest_kept(self, directive: str, named: str) -> None:  # 5.2.2.4, 5.2.2.7
        kept = verdict(pairs(cache_control=f"max-age=60, {directive}={named}", set_cookie="a=b", x_other="1"))
        assert isinstance(kept, Storable)
        assert {name for name, _ in kept.headers} == {b"cache-control", b"x-other", b"date"}


class TestExpires:
    """RFC 9111 section 5.3, RFC 9110 section 5.6.7."""

    @pytest.mark.parametrize(("text", "seconds"), EPOCH_FORMS)
    def test_every_form_of_a_date_is_read(self, text: str, seconds: int) -> None:
        answered = Answered(200, pairs(expires=text), seconds - 10)
        kept = may_store(asked(), answered, CachePolicy(), Scope.USER)
        assert isinstance(kept, Storable)
        assert kept.fresh_until == seconds

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
            "tue, 14 nov 2023 22:14:20 gmt",
            "Tue, 14 Nov 2023 25:14:20 GMT",
            "Tue, 32 Nov 2023 22:14:20 GMT",
            "2023-11-14T22:14:20Z",
            "Tue, 14 Foo 2023 22:14:20 GMT",
            "\xff",
        ],
    )
    def test_any_other_is_in_the_past(self, text: str) -> None:
        assert isinstance(lookup(entry([(b"expires", text.encode("latin-1"))]), asked(), NOW), Stale)

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
    def test_its_place_among_the_others(self, headers: Headers, seconds: float) -> None:
        assert lifetime(headers) == seconds

    def test_the_first_of_several_lines_counts(self) -> None:
        assert lifetime([(b"expires", IN_A_MINUTE), (b"expires", DATE)]) == 60


class TestGuessing:
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
    def test_without_a_ttl_the_last_change_tells(self, headers: Headers, seconds: float | None) -> None:
        assert lifetime(headers, policy=CachePolicy(ttl=0)) == seconds

    def test_the_operators_ttl_comes_first(self) -> None:
        assert lifetime(pairs(last_modified="Thu, 01 Jan 1970 00:00:00 GMT"), policy=CachePolicy(ttl=5)) == 5

    @pytest.mark.parametrize("status", [302, 307, 404, 410, 500])
    def test_public_makes_any_status_guessable(self, status: int) -> None:
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
    def test_it_is_taken_off_what_is_left(self, headers: Headers, delay: float, left: float) -> None:
        answered = Answered(200, [*headers, (b"cache-control", b"max-age=100")], NOW, delay)
        kept = may_store(asked(), answered, CachePolicy(), Scope.USER)
        assert isinstance(kept, Storable)
        assert kept.fresh_until - NOW == left

    @pytest.mark.parametrize("age", ["100", "500", "99999999999999999999"])
    def test_what_came_too_old_is_stale_at_once(self, age: str) -> None:
        assert isinstance(lookup(entry(pairs(age=age, cache_control="max-age=100")), asked(), NOW), Stale)


class TestTheFieldsThatAreKept:
    """RFC 9111 section 3.1."""

    @pytest.mark.parametrize(
        "name",
        ["connection", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization",
         "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "age"],
    )  # fmt: skip
    def test_those_of_one_connection_are_not(self, name: str) -> None:
        kept = verdict([(name.encode(), b"1"), (b"x-kept", b"1")])
        assert isinstance(kept, Storable)
        assert name.encode() not in dict(kept.headers)
        assert (b"x-kept", b"1") in kept.headers

    @pytest.mark.parametrize("value", ["x-gone", "X-Gone", "close, x-gone", " x-gone ,", "x-other,x-gone"])
    def test_nor_what_connection_names(self, value: str) -> None:
        kept = verdict(pairs(connection=value, x_gone="1", x_kept="1"))
        assert isinstance(kept, Storable)
        assert {b"x-gone", b"x-kept"} & set(dict(kept.headers)) == {b"x-kept"}

    def test_repeated_fields_and_their_order_stay(self) -> None:
        headers = [(b"link", b"1"), (b"date", DATE), (b"link", b"2"), (b"x-raw", b"\xff")]
        kept = verdict(headers)
        assert isinstance(kept, Storable)
        assert kept.headers == tuple(headers)

    def test_a_date_is_added_where_there_is_none(self) -> None:  # RFC 9110 section 6.6.1
        kept = verdict([])
        assert isinstance(kept, Storable)
        assert kept.headers == ((b"date", DATE),)


class TestHowLongItIsOfUse:
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
    def test_past_its_freshness(self, value: str, policy: CachePolicy, refresh: float, error: float) -> None:
        kept = verdict(pairs(cache_control=value), policy=policy)
        assert isinstance(kept, Storable)
        times = kept.times
        assert (times.refresh_until - times.fresh_until, times.stale_until - times.fresh_until) == (refresh, error)

    def test_one_that_can_be_asked_about_is_kept_for_that(self) -> None:  # section 4.3.1
        for validator in ({"etag": '"a"'}, {"last_modified": DATE.decode()}):
            kept = verdict(pairs(cache_control="max-age=60, must-revalidate", **validator))
            assert isinstance(kept, Storable)
            assert kept.times.kept_until > kept.times.stale_until == kept.times.fresh_until


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
            ('max-age="10"', 300),
            ("max-age=1.5", 0),
            ("max-age=-1", 0),
            ("must-revalidate", 300),
        ],
    )
    def test_it_is_read_strictly_and_goes_before(self, targeted: str, seconds: float | None) -> None:
        headers = pairs(cdn_cache_control=targeted, cache_control="max-age=60")
        if seconds == 0:
            assert isinstance(lookup(entry(headers), asked(), NOW), Stale)
        else:
            assert lifetime(headers) == seconds


@pytest.mark.parametrize("status", range(200, 600, 7))
def test_any_status_that_says_how_long_is_kept_so_long(status: int) -> None:  # section 3
    assert lifetime(pairs(cache_control="max-age=60"), status) == (None if status in (206, 304) else 60)
