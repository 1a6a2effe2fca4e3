"""Preconditions of clients, and validation by backends (RFC 9111 section 4.3)."""

import msgspec
import pytest

from resilience.cache.messages import CacheRequest, CacheResponse
from resilience.cache.responses import construct_response
from resilience.cache.validation import (
    freshened_headers,
    is_not_modified,
    is_selected_by,
    matches_head,
    matches_strongly,
    not_modified_headers,
    validation_fields,
    with_conditions,
)
from tests.resilience.cache.messages import DATE, IN_A_MINUTE, MINUTE_AGO, NOW, Headers, entry, make_request, pairs

WITH_ETAG = entry(
    pairs(etag='"a"', last_modified=MINUTE_AGO.decode(), date=DATE.decode(), content_type="t"), body=b"body"
)
WEAK = entry(pairs(etag='W/"a"'))
WITHOUT_VALIDATOR = entry([])


class TestPreconditionsOfClients:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ('"a"', True),
            ('W/"a"', True),
            ('"b"', False),
            ('"b", "a"', True),
            ('"b","a"', True),
            ('"b" , W/"a" , "c"', True),
            ('"A"', False),
            ("a", False),
            ("*", True),
            (" * ", True),
            ('"*"', False),
            ("", False),
            ('"a', False),
            ('"x, "a"', False),
            ('"b, a"', False),
            ('w/"a"', True),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_if_none_match_is_compared_weakly(self, value: str, expected: bool, method: str) -> None:  # section 4.3.2
        assert is_not_modified(WITH_ETAG, make_request(method, if_none_match=value)) is expected
        assert is_not_modified(WEAK, make_request(method, if_none_match=value)) is expected

    def test_a_tag_may_contain_a_comma(self) -> None:  # RFC 9110 section 8.8.3
        assert is_not_modified(entry(pairs(etag='"a,b"')), make_request(if_none_match='"x", "a,b"'))

    def test_several_lines_are_one_list(self) -> None:
        assert is_not_modified(WITH_ETAG, CacheRequest("GET", [(b"if-none-match", b'"b"'), (b"if-none-match", b'"a"')]))

    def test_a_response_without_a_tag_never_matches(self) -> None:
        assert not is_not_modified(WITHOUT_VALIDATOR, make_request(if_none_match='"a"'))

    @pytest.mark.parametrize(
        ("since", "expected"),
        [
            (MINUTE_AGO.decode(), True),
            (DATE.decode(), True),
            (IN_A_MINUTE.decode(), True),
            ("Tue, 14 Nov 2023 22:12:19 GMT", False),
            ("Tuesday, 14-Nov-23 22:13:20 GMT", True),
            ("Tue Nov 14 22:13:20 2023", True),
            ("nonsense", False),
            ("", False),
            ("0", False),
        ],
    )
    def test_if_modified_since_is_compared_as_a_date(self, since: str, expected: bool) -> None:  # section 4.3.2
        assert is_not_modified(WITH_ETAG, make_request(if_modified_since=since)) is expected

    @pytest.mark.parametrize(("since", "expected"), [(MINUTE_AGO.decode(), False), (DATE.decode(), True)])
    def test_without_last_modified_the_date_is_used(self, since: str, expected: bool) -> None:  # section 4.3.2
        assert is_not_modified(entry(pairs(date=DATE.decode())), make_request(if_modified_since=since)) is expected
        undated = msgspec.structs.replace(WITHOUT_VALIDATOR, headers=())
        assert is_not_modified(undated, make_request(if_modified_since=since)) is expected

    def test_if_none_match_takes_precedence(self) -> None:  # RFC 9110 section 13.2.2
        both = make_request(if_none_match='"b"', if_modified_since=IN_A_MINUTE.decode())
        assert not is_not_modified(WITH_ETAG, both)

    @pytest.mark.parametrize("status", [203, 204, 301, 404, 410])
    def test_only_a_200_becomes_a_304(self, status: int) -> None:  # RFC 9110 section 13.2.1
        assert not is_not_modified(
            entry(pairs(etag='"a"', cache_control="max-age=9"), status=status), make_request(if_none_match="*")
        )

    def test_a_304_has_the_fields_of_the_200_except_those_about_the_body(self) -> None:  # RFC 9110 section 15.4.5
        headers = pairs(
            etag='"a"', last_modified="l", date="d", vary="v", expires="e", cache_control="c", content_location="/x",
            content_type="t", content_length="4", content_encoding="gzip", content_language="de", x_own="1",
        )  # fmt: skip
        stored_entry = {name for name, _ in not_modified_headers(headers)}
        assert stored_entry == {b"etag", b"date", b"vary", b"expires", b"cache-control", b"content-location", b"x-own"}
        assert (b"last-modified", b"l") in not_modified_headers(pairs(last_modified="l"))

    def test_it_has_no_body_and_an_age(self) -> None:
        response = construct_response(WITH_ETAG, make_request(if_none_match='"a"'), 7)
        assert (response.status, response.body, dict(response.headers)[b"age"]) == (304, b"", b"7")
        assert b"content-length" not in dict(response.headers)


class TestValidationByBackends:
    @pytest.mark.parametrize(
        ("headers", "preconditions"),
        [
            (pairs(etag='"a"'), [(b"if-none-match", b'"a"')]),
            (pairs(etag='W/"a"'), [(b"if-none-match", b'W/"a"')]),
            (pairs(last_modified="l"), [(b"if-modified-since", b"l")]),
            (pairs(etag='"a"', last_modified="l"), [(b"if-none-match", b'"a"'), (b"if-modified-since", b"l")]),
            ([], []),
        ],
    )
    def test_every_validator_becomes_a_precondition(
        self, headers: Headers, preconditions: Headers
    ) -> None:  # section 4.3.1
        assert validation_fields(entry(headers)) == preconditions

    @pytest.mark.parametrize("status", [302, 404, 410, 503])
    def test_what_is_no_success_is_not_validated(self, status: int) -> None:  # RFC 9110 section 13.2.1
        stored = msgspec.structs.replace(entry(pairs(etag='"a"', last_modified="l")), status=status)
        assert validation_fields(stored) == []

    def test_the_clients_preconditions_are_replaced(self) -> None:  # section 4.3.1
        presented = pairs(if_none_match='"presented"', if_modified_since="presented", accept="x")
        stored_entry = entry(pairs(last_modified="l"))
        assert with_conditions(presented, stored_entry) == [(b"accept", b"x"), (b"if-modified-since", b"l")]

    @pytest.mark.parametrize(
        ("stored", "received", "same"),
        [
            ({"etag": '"a"'}, {"etag": '"a"'}, True),
            ({"etag": '"a"'}, {"etag": '"b"'}, False),
            ({"etag": '"a"'}, {"etag": 'W/"a"'}, True),
            ({"etag": 'W/"a"'}, {"etag": 'W/"a"'}, True),
            ({"etag": 'W/"a"'}, {"etag": '"a"'}, False),
            ({"etag": '"a"'}, {}, True),
            ({"last_modified": "l"}, {"last_modified": "l"}, True),
            ({"last_modified": "l"}, {"last_modified": "m"}, False),
            ({"last_modified": "l"}, {"etag": '"a"'}, False),
            ({"last_modified": "l"}, {"etag": 'W/"a"'}, True),
            ({"last_modified": "l"}, {"etag": '"a"', "last_modified": "l"}, True),
            ({"last_modified": "l"}, {}, True),
            ({"etag": '"a"', "last_modified": "l"}, {"etag": '"a"', "last_modified": "m"}, True),
            ({"etag": '"a"', "last_modified": "l"}, {"last_modified": "m"}, False),
            ({}, {"etag": '"a"'}, False),
            ({"date": DATE.decode()}, {"last_modified": MINUTE_AGO.decode()}, True),
            ({"date": MINUTE_AGO.decode()}, {"last_modified": DATE.decode()}, False),  # modified since it was stored
            ({"etag": '"a"', "date": MINUTE_AGO.decode()}, {"last_modified": DATE.decode()}, False),
        ],
    )
    def test_a_304_selects_the_response_with_its_validator(  # section 4.3.4
        self, stored: dict[str, str], received: dict[str, str], same: bool
    ) -> None:
        assert is_selected_by(entry(pairs(**stored)), CacheResponse(304, pairs(**received), NOW)) is same

    @pytest.mark.parametrize(
        ("stored", "received", "updated"),
        [
            ({"x_a": "1"}, {"x_a": "2"}, {"x-a": "2"}),
            ({"x_a": "1"}, {"x_b": "2"}, {"x-a": "1", "x-b": "2"}),
            ({"cache_control": "max-age=1"}, {"cache_control": "max-age=2"}, {"cache-control": "max-age=2"}),
            ({"expires": "1"}, {"expires": "2"}, {"expires": "2"}),
            ({"etag": 'W/"1"'}, {"etag": 'W/"2"'}, {"etag": 'W/"2"'}),
            ({"vary": "a"}, {"vary": "b"}, {"vary": "b"}),
            ({"content_length": "4"}, {"content_length": "0"}, {"content-length": "4"}),
            ({"content_type": "t"}, {"content_type": "u"}, {"content-type": "t"}),
            ({"content_encoding": "gzip"}, {"content_encoding": "br"}, {"content-encoding": "gzip"}),
            ({"x_a": "1"}, {"content_range": "bytes 0-1/2"}, {"x-a": "1"}),
            ({"x_a": "1"}, {"connection": "x-b", "x_b": "2"}, {"x-a": "1"}),
            ({"x_a": "1"}, {"transfer_encoding": "chunked"}, {"x-a": "1"}),
            ({"x_a": "1"}, {"keep_alive": "1"}, {"x-a": "1"}),
            ({"date": MINUTE_AGO.decode()}, {"date": DATE.decode()}, {"date": DATE.decode()}),
            ({"content_language": "de"}, {"content_language": "fr"}, {"content-language": "fr"}),
        ],
    )
    def test_a_304_updates_the_stored_fields_except_those_about_the_body(  # section 3.2
        self, stored: dict[str, str], received: dict[str, str], updated: dict[str, str]
    ) -> None:
        stored_entry = msgspec.structs.replace(WITHOUT_VALIDATOR, headers=tuple(pairs(**stored)))
        assert freshened_headers(stored_entry, CacheResponse(304, pairs(**received), NOW)) == [
            (n.encode(), v.encode()) for n, v in updated.items()
        ]

    def test_all_lines_of_a_field_are_replaced(self) -> None:  # section 3.2
        stored_entry = msgspec.structs.replace(
            WITHOUT_VALIDATOR, headers=((b"link", b"1"), (b"link", b"2"), (b"x", b"y"))
        )
        assert freshened_headers(stored_entry, CacheResponse(304, [(b"link", b"3"), (b"link", b"4")], NOW)) == [
            (b"x", b"y"),
            (b"link", b"3"),
            (b"link", b"4"),
        ]

    def test_a_304_without_a_date_removes_the_stored_date(self) -> None:  # RFC 9110 section 6.6.1
        assert freshened_headers(entry(pairs(date=MINUTE_AGO.decode())), CacheResponse(304, [], NOW)) == []

    @pytest.mark.parametrize(
        ("status", "headers", "expected"),
        [
            (200, pairs(content_length="4", etag='"a"'), True),
            (200, pairs(etag='"a"'), True),
            (200, [], True),
            (200, pairs(content_length="5"), False),
            (200, pairs(etag='"b"'), False),
            (200, pairs(etag='W/"a"'), False),
            (200, pairs(last_modified=DATE.decode()), False),
            (404, pairs(etag='"a"'), False),
        ],
    )
    def test_a_head_confirms_or_refutes_the_stored_get(  # section 4.3.5
        self, status: int, headers: Headers, expected: bool
    ) -> None:
        assert matches_head(WITH_ETAG, CacheResponse(status, headers, NOW)) is expected

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [(b'"a"', b'"a"', True), (b'W/"a"', b'W/"a"', False), (b'"a"', b'W/"a"', False), (None, None, False)],
    )
    def test_strong_comparison(self, one: bytes | None, other: bytes | None, same: bool) -> None:  # RFC 9110 8.8.3.2
        assert matches_strongly(one, other) is same
