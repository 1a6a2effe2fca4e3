"""Whether a response may be stored and for how long, by each rule of RFC 9111. Time is an argument."""

import pytest

from resilience.cache.messages import CacheRequest, CacheResponse, Skip, Stale, Storable
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.serving import lookup
from resilience.cache.storing import is_complete
from tests.resilience.cache.messages import (
    DATE,
    MINUTE_AGO,
    NOW,
    entry,
    lifetime,
    make_request,
    pairs,
    verdict,
)


class TestStorability:
    @pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"])
    def test_only_get_is_stored(self, method: str) -> None:  # section 3
        assert isinstance(verdict(pairs(cache_control="max-age=60"), request=make_request(method)), Skip)

    @pytest.mark.parametrize("value", ["no-store", "No-Store", "private", "private=", "no-cache"])
    def test_a_response_may_forbid_storing(self, value: str) -> None:  # sections 5.2.2.4, 5.2.2.5, 5.2.2.7
        assert isinstance(verdict(pairs(cache_control=f"max-age=60, {value}")), Skip)

    @pytest.mark.parametrize("value", ["no-store", "private"])
    def test_an_override_does_not_lift_the_prohibition(self, value: str) -> None:
        policy = CachePolicy(ttl=60, override=True)
        assert isinstance(verdict(pairs(cache_control=value), policy=policy), Skip)

    def test_a_request_may_forbid_storing(self) -> None:  # section 5.2.1.5
        request = make_request(cache_control="no-store")
        assert verdict(pairs(cache_control="max-age=60"), request=request) == Skip(
            "the request says no-store", "RFC 9111 section 5.2.1.5"
        )

    @pytest.mark.parametrize(
        "conditional", [make_request(if_match='"a"'), make_request(if_unmodified_since=DATE.decode())]
    )
    def test_the_response_to_a_precondition_is_not_stored(self, conditional: CacheRequest) -> None:  # section 4.3.2
        assert verdict(pairs(cache_control="max-age=60"), request=conditional) == Skip(
            "the request has a precondition", "RFC 9111 section 4.3.2"
        )

    def test_a_response_with_a_cookie_is_never_stored(self) -> None:  # section 7.3
        assert isinstance(verdict(pairs(cache_control="public, max-age=60", set_cookie="a=b")), Skip)

    @pytest.mark.parametrize("value", ["*", "accept, *", " * "])
    def test_vary_by_everything_is_not_stored(self, value: str) -> None:  # section 4.1
        assert isinstance(verdict(pairs(cache_control="max-age=60", vary=value)), Skip)

    @pytest.mark.parametrize("status", [100, 103, 206, 226, 304])
    def test_an_incomplete_response_is_not_stored(self, status: int) -> None:  # sections 3 and 3.3
        assert lifetime(pairs(cache_control="max-age=60"), status) is None

    @pytest.mark.parametrize("status", [407, 408, 411, 412, 413, 415, 416, 421, 425, 426, 428, 429, 431, 511])
    def test_the_refusal_of_one_request_is_not_stored(self, status: int) -> None:  # RFC 9110 15.5, RFC 6585
        assert isinstance(verdict(pairs(cache_control="public, max-age=60"), status), Skip)
        assert lifetime(pairs(cache_control="max-age=60"), status, CachePolicy(override=True)) is None

    @pytest.mark.parametrize("scope", [Scope.TENANT, Scope.SHARED])
    @pytest.mark.parametrize("status", [400, 401, 403, 406])
    def test_some_refusals_are_stored_for_single_callers_only(self, status: int, scope: Scope) -> None:
        headers = pairs(cache_control="public, max-age=60")
        assert isinstance(verdict(headers, status, scope=scope), Skip)
        assert isinstance(verdict(headers, status, request=make_request(authenticated=False)), Skip)
        assert lifetime(headers, status) == 60

    @pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308])
    def test_the_ttl_applies_to_responses_without_a_lifetime(self, status: int) -> None:  # section 4.2.2
        assert lifetime([], status) == 300

    @pytest.mark.parametrize("status", [201, 302, 307, 400, 401, 403, 404, 405, 410, 414, 500, 501, 503])
    def test_other_statuses_need_an_explicit_lifetime(self, status: int) -> None:  # section 3
        assert lifetime([], status) is None
        assert lifetime([], status, CachePolicy(override=True)) is None
        assert lifetime(pairs(cache_control="max-age=60"), status) == 60

    def test_with_a_ttl_of_zero_only_an_explicit_lifetime_counts(self) -> None:
        policy = CachePolicy(ttl=0)
        assert lifetime([], policy=policy) is None
        assert lifetime(pairs(cache_control="max-age=60"), policy=policy) == 60
        assert lifetime(pairs(cache_control="max-age=60"), policy=CachePolicy(ttl=0, override=True)) == 60

    def test_a_body_is_complete_by_its_content_length(self) -> None:  # section 3.3
        def complete(**headers: str) -> bool:
            return is_complete(CacheResponse(200, pairs(**headers), NOW), 5)

        assert complete(content_length="5")
        assert complete()
        assert not complete(content_length="6")
        assert not complete(content_length="x")


class TestAuthenticatedRequests:
    @pytest.mark.parametrize("value", ["public", "s-maxage=60", "must-revalidate, max-age=60"])
    def test_the_response_is_shared_if_it_allows_that(self, value: str) -> None:  # section 3.5
        request = make_request(authenticated=True, authorization="Bearer x")
        assert isinstance(verdict(pairs(cache_control=value), request=request, scope=Scope.SHARED), Storable)

    @pytest.mark.parametrize("scope", [Scope.TENANT, Scope.SHARED])
    def test_otherwise_its_scope_is_no_wider_than_its_routes(self, scope: Scope) -> None:  # section 3.5
        headers, request = pairs(cache_control="max-age=60"), make_request(authenticated=True)
        assert isinstance(verdict(headers, request=request, scope=scope), Skip)
        assert isinstance(verdict(headers, request=request, scope=scope, policy=CachePolicy(scope=scope)), Storable)
        assert isinstance(verdict(headers, request=make_request(authenticated=False), scope=scope), Storable)

    def test_it_is_stored_under_the_callers_own_key(self) -> None:
        assert isinstance(verdict([], request=make_request(authenticated=True)), Storable)


class TestEveryResponseDirective:
    """RFC 9111 section 5.2.2: the freshness lifetime, None where the response is not stored."""

    @pytest.mark.parametrize(
        ("section", "value", "seconds"),
        [
            ("5.2.2.1", "max-age=60", 60),
            ("5.2.2.1", "Max-Age=60", 60),
            ("5.2.2.1", "MAX-AGE=60", 60),
            ("5.2.2.1", 'max-age="60"', 60),
            ("5.2.2.1", "max-age=060", 60),
            ("4.2.1", "max-age =60", 0),
            ("4.2.1", "max-age= 60", 0),
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
    def test_a_directive_determines_the_lifetime(self, section: str, value: str, seconds: float | None) -> None:
        if seconds == 0:
            assert isinstance(lookup(entry(pairs(cache_control=value)), make_request(), NOW), Stale), section
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
    def test_must_understand_allows_storing_an_understood_status(self, status: int) -> None:  # section 5.2.2.3
        assert lifetime(pairs(cache_control="must-understand, no-store, max-age=60"), status) == 60

    @pytest.mark.parametrize("status", [201, 202, 205, 226, 299, 400, 418, 429, 500, 502, 503, 599])
    def test_must_understand_forbids_storing_any_other_status(self, status: int) -> None:  # section 5.2.2.3
        assert lifetime(pairs(cache_control="must-understand, max-age=60"), status) is None

    @pytest.mark.parametrize("value", ["no-cache", "no-cache, max-age=60", "no-cache="])
    @pytest.mark.parametrize("validator", [{"etag": '"a"'}, {"last_modified": MINUTE_AGO.decode()}])
    def test_no_cache_is_stored_for_validation(self, value: str, validator: dict[str, str]) -> None:  # 5.2.2.4
        result = lookup(entry(pairs(cache_control=value, **validator)), make_request(), NOW)
        assert isinstance(result, Stale)
        assert not result.usable

    @pytest.mark.parametrize("directive", ["no-cache", "private"])
    @pytest.mark.parametrize("named", ['"set-cookie"', '"Set-Cookie, X-Name"', "set-cookie"])
    def test_named_fields_are_left_out_and_the_others_stored(
        self, directive: str, named: str
    ) -> None:  # 5.2.2.4, 5.2.2.7
        storable = verdict(pairs(cache_control=f"max-age=60, {directive}={named}", set_cookie="a=b", x_other="1"))
        assert isinstance(storable, Storable)
        assert {name for name, _ in storable.headers} == {b"cache-control", b"x-other", b"date"}


class TestStoredFields:
    """RFC 9111 section 3.1."""

    @pytest.mark.parametrize(
        "name",
        ["connection", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization",
         "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "age"],
    )  # fmt: skip
    def test_connection_specific_fields_are_left_out(self, name: str) -> None:
        storable = verdict([(name.encode(), b"1"), (b"x-kept", b"1")])
        assert isinstance(storable, Storable)
        assert name.encode() not in dict(storable.headers)
        assert (b"x-kept", b"1") in storable.headers

    @pytest.mark.parametrize("value", ["x-gone", "X-Gone", "close, x-gone", " x-gone ,", "x-other,x-gone"])
    def test_fields_named_in_connection_are_left_out(self, value: str) -> None:
        storable = verdict(pairs(connection=value, x_gone="1", x_kept="1"))
        assert isinstance(storable, Storable)
        assert {b"x-gone", b"x-kept"} & set(dict(storable.headers)) == {b"x-kept"}

    def test_repeated_fields_and_their_order_are_preserved(self) -> None:
        headers = [(b"link", b"1"), (b"date", DATE), (b"link", b"2"), (b"x-raw", b"\xff")]
        storable = verdict(headers)
        assert isinstance(storable, Storable)
        assert storable.headers == tuple(headers)

    def test_a_missing_date_is_added(self) -> None:  # RFC 9110 section 6.6.1
        storable = verdict([])
        assert isinstance(storable, Storable)
        assert storable.headers == ((b"date", DATE),)


@pytest.mark.parametrize("status", range(200, 600, 7))
def test_any_status_with_an_explicit_lifetime_is_stored(status: int) -> None:  # section 3, RFC 6585 section 5
    assert lifetime(pairs(cache_control="max-age=60"), status) == (None if status in (206, 304, 431) else 60)
