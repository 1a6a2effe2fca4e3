"""Which words of a response an operator may let the cache ignore, and what holds nevertheless."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.cache import storing
from resilience.cache.directives import EXCESSIVE, MAX_FIELD_BYTES
from resilience.cache.ignoring import Ignorable, ignored_words, without_ignored
from resilience.cache.messages import CacheRequest, CacheResponse, Skip, Storable
from resilience.cache.policy import CachePolicy, Scope
from tests.resilience.cache.messages import DATE, MINUTE_AGO, NOW, make_request

ALL = tuple(Ignorable)
LONG_AGO = b"Sat, 26 Jul 1997 05:00:00 GMT"
SLACK = [
    (b"cache-control", b"private, no-cache, no-store, must-revalidate"),
    (b"expires", LONG_AGO),
    (b"pragma", b"no-cache"),
    (b"set-cookie", b"b=secret; path=/"),
]
CALENDAR = [
    (b"cache-control", b"no-cache, no-store, max-age=0, must-revalidate"),
    (b"expires", b"Mon, 01 Jan 1990 00:00:00 GMT"),
    (b"pragma", b"no-cache"),
    (b"etag", b'"3181161784712000"'),
]
GMAIL = [(b"cache-control", b"private"), (b"vary", b"Origin"), (b"vary", b"X-Origin"), (b"vary", b"Referer")]
HUBSPOT = [(b"set-cookie", b"__cfduid=secret; HttpOnly")]
SALESFORCE = [
    (b"cache-control", b"no-cache,must-revalidate,max-age=0,no-store,private"),
    (b"expires", b"Thu, 01 Jan 1970 00:00:00 GMT"),
    (b"set-cookie", b"BrowserId=secret; domain=.salesforce.com; path=/"),
]
USUAL = (
    Ignorable.PRIVATE,
    Ignorable.NO_STORE,
    Ignorable.NO_CACHE,
    Ignorable.SET_COOKIE,
    Ignorable.EXPIRES,
    Ignorable.PRAGMA,
)

Headers = list[tuple[bytes, bytes]]


def judge(headers: Headers, *ignore: Ignorable, request: CacheRequest | None = None, **policy: Any) -> Storable | Skip:
    settings = CachePolicy(ignore=ignore, **policy)
    response = CacheResponse(200, headers, NOW, ignore=settings.ignore)
    return storing.may_store(request or make_request(), response, settings, settings.scope)


def stored(headers: Headers, *ignore: Ignorable, **policy: Any) -> Storable:
    verdict = judge(headers, *ignore, **policy)
    assert isinstance(verdict, Storable), verdict
    return verdict


class TestRecordedResponses:
    @pytest.mark.parametrize("headers", [SLACK, CALENDAR, GMAIL, HUBSPOT, SALESFORCE])
    def test_none_has_a_lifetime_without_ignoring(self, headers: Headers) -> None:
        assert isinstance(judge(headers), Skip)

    @pytest.mark.parametrize("headers", [SLACK, GMAIL, HUBSPOT])
    def test_the_routes_ttl_applies(self, headers: Headers) -> None:
        assert stored(headers, *USUAL, ttl=60).fresh_until == NOW + 60

    @pytest.mark.parametrize("headers", [CALENDAR, SALESFORCE])
    def test_a_max_age_of_zero_is_ignored_by_name_or_overridden(self, headers: Headers) -> None:
        assert stored(headers, *USUAL, Ignorable.MAX_AGE, ttl=60).fresh_until == NOW + 60
        assert stored(headers, *USUAL, ttl=60, override=True).fresh_until == NOW + 60

    def test_a_max_age_of_zero_with_an_etag_is_kept_to_be_validated(self) -> None:
        freshness = stored(CALENDAR, *USUAL, ttl=60).freshness
        assert freshness.fresh_until == NOW
        assert freshness.kept_until > NOW

    def test_without_a_validator_it_is_already_stale(self) -> None:
        assert judge(SALESFORCE, *USUAL, ttl=60) == Skip("the response is already stale", "RFC 9111 section 4.2.4")

    def test_must_revalidate_holds_once_the_response_is_stale(self) -> None:
        freshness = stored(SLACK, *USUAL, ttl=60, stale_if_error=300, stale_while_revalidate=10).freshness
        assert freshness.must_revalidate
        assert freshness.stale_until == freshness.refresh_until == NOW + 60

    def test_unless_it_is_ignored_too(self) -> None:
        ignore = (*USUAL, Ignorable.MUST_REVALIDATE)
        freshness = stored(SLACK, *ignore, ttl=60, stale_if_error=300, stale_while_revalidate=10).freshness
        assert not freshness.must_revalidate
        assert (freshness.refresh_until, freshness.stale_until) == (NOW + 70, NOW + 360)

    @pytest.mark.parametrize("headers", [SLACK, HUBSPOT, SALESFORCE])
    def test_the_cookie_is_not_stored_and_all_else_is(self, headers: Headers) -> None:
        kept = stored(headers, *ALL).headers
        assert {name for name, _ in kept} - {b"date"} == {name for name, _ in headers} - {b"set-cookie"}
        assert b"secret" not in b"".join(value for _, value in kept)

    def test_the_words_are_listed(self) -> None:
        assert stored(SLACK, *ALL).ignored == (
            "private",
            "no-store",
            "no-cache",
            "must-revalidate",
            "set-cookie",
            "expires",
            "pragma",
        )
        assert stored(GMAIL, *ALL).ignored == ("private",)
        assert stored([], *ALL).ignored == ()


class TestEachWord:
    @pytest.mark.parametrize(
        ("word", "headers"),
        [
            (Ignorable.PRIVATE, [(b"cache-control", b"private, max-age=60")]),
            (Ignorable.NO_STORE, [(b"cache-control", b"no-store, max-age=60")]),
            (Ignorable.NO_CACHE, [(b"cache-control", b"no-cache, max-age=60")]),
            (Ignorable.MAX_AGE, [(b"cache-control", b"max-age=0")]),
            (Ignorable.MAX_AGE, [(b"cache-control", b"s-maxage=0")]),
            (Ignorable.EXPIRES, [(b"expires", LONG_AGO)]),
            (Ignorable.SET_COOKIE, [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]),
            (Ignorable.NO_STORE, [(b"cdn-cache-control", b"no-store")]),
        ],
    )
    def test_is_ignored_only_by_its_own_name(self, word: Ignorable, headers: Headers) -> None:
        assert isinstance(judge(headers, word, stale_if_error=0), Storable)
        assert isinstance(judge(headers, *[other for other in ALL if other is not word], stale_if_error=0), Skip)

    def test_a_directive_that_names_fields_is_about_these_alone(self) -> None:
        headers = [(b"cache-control", b'private="x-mine", no-cache="x-other"'), (b"x-mine", b"1"), (b"x-other", b"1")]
        verdict = stored(headers, *ALL)
        assert not {b"x-mine", b"x-other"} & {name for name, _ in verdict.headers}
        assert verdict.ignored == ()

    @pytest.mark.parametrize("value", [b'private, private="x-mine"', b"x=" + b"y" * MAX_FIELD_BYTES])
    def test_a_field_that_cannot_be_read_is_not_ignored(self, value: bytes) -> None:
        assert isinstance(judge([(b"cache-control", value), (b"x-mine", b"1")], *ALL), Skip)

    def test_a_request_may_forbid_storing_all_the_same(self) -> None:
        assert isinstance(judge(SLACK, *ALL, request=make_request(cache_control="no-store")), Skip)

    @pytest.mark.parametrize("headers", [[(b"vary", b"*")], [(b"content-type", b"text/event-stream")]])
    def test_what_cannot_be_reused_is_not_stored(self, headers: Headers) -> None:
        assert isinstance(judge(headers, *ALL), Skip)

    def test_an_ignored_lifetime_does_not_store_an_anonymous_response(self) -> None:
        anonymous = make_request(authenticated=False)
        for headers in (SLACK, CALENDAR, [(b"expires", LONG_AGO)]):
            assert isinstance(judge(headers, *ALL, request=anonymous), Skip)


class TestSharing:
    @pytest.mark.parametrize("word", ALL)
    def test_scope_shared_needs_a_word_of_its_own(self, word: Ignorable) -> None:
        with pytest.raises(ValueError, match=r"^ignore lists .*share_ignored: true"):
            CachePolicy(scope=Scope.SHARED, ignore=(word,))
        for scope in (Scope.USER, Scope.TENANT):
            CachePolicy(scope=scope, ignore=(word,))
        CachePolicy(scope=Scope.SHARED, ignore=(word,), share_ignored=True)

    def test_so_does_a_field_by_which_responses_vary(self) -> None:
        with pytest.raises(ValueError, match=r"^ignore_vary lists referer, and scope is shared"):
            CachePolicy(scope=Scope.SHARED, ignore_vary=("referer",))
        with pytest.raises(ValueError, match=r"^ignore_vary lists referer, and so does vary"):
            CachePolicy(ignore_vary=("referer", "origin"), vary=("referer",))

    def test_vary_by_everything_is_not_ignored(self) -> None:
        assert isinstance(judge([(b"vary", b"*, referer")], ignore_vary=("referer",)), Skip)

    @pytest.mark.parametrize("prohibition", [b"private", b"no-store"])
    def test_what_was_prohibited_does_not_allow_sharing_by_another_directive(self, prohibition: bytes) -> None:
        headers = [(b"cache-control", prohibition + b", must-revalidate, s-maxage=9")]
        assert not storing.is_shareable(CacheResponse(200, headers, NOW, ignore=ALL))
        assert storing.is_shareable(CacheResponse(200, [(b"cache-control", b"public")], NOW, ignore=ALL))

    def test_it_is_not_stored_for_more_callers_than_the_route_says(self) -> None:
        policy = CachePolicy(ignore=USUAL)
        response = CacheResponse(200, SLACK, NOW, ignore=policy.ignore)
        assert isinstance(storing.may_store(make_request(), response, policy, Scope.SHARED), Skip)


_NAMES = st.sampled_from([b"private", b"no-store", b"no-cache", b"max-age", b"s-maxage", b"must-revalidate", b"public"])
_CONTROL = st.dictionaries(_NAMES, st.sampled_from([None, b"", b"0", b"x-mine"]))
_WORDS = st.lists(st.sampled_from(ALL), unique=True).map(tuple)


class TestAnyResponse:
    @given(_CONTROL, _WORDS)
    def test_only_named_words_are_left_out(
        self, control: dict[bytes, bytes | None], words: tuple[Ignorable, ...]
    ) -> None:
        left = without_ignored(control, words)
        assert left.items() <= control.items()
        assert bool(ignored_words(control, (), words)) == (left != control)

    @given(_CONTROL, _WORDS, st.booleans(), st.booleans())
    def test_no_cookie_is_ever_stored(
        self, control: dict[bytes, bytes | None], words: tuple[Ignorable, ...], cookie: bool, expires: bool
    ) -> None:
        value = b", ".join(
            name if argument is None else b"%b=%b" % (name, argument) for name, argument in control.items()
        )
        headers = [(b"cache-control", value), (b"date", DATE)]
        headers += [(b"set-cookie", b"s=1")] if cookie else []
        headers += [(b"expires", MINUTE_AGO)] if expires else []
        verdict = judge(headers, *words)
        if isinstance(verdict, Storable):
            assert b"set-cookie" not in {name for name, _ in verdict.headers}
            assert not cookie or Ignorable.SET_COOKIE in words

    @given(_WORDS)
    def test_a_field_too_long_to_read_stays_a_prohibition(self, words: tuple[Ignorable, ...]) -> None:
        assert without_ignored(EXCESSIVE, words) is EXCESSIVE
