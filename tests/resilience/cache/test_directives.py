"""Cache directives and other fields: well-formed input is parsed, and no input raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.cache import fields
from resilience.cache.directives import MAX_DELTA_SECONDS, delta_seconds, parse, parse_targeted, seconds


@pytest.mark.parametrize(
    ("line", "directives"),
    [
        (b"max-age=60", {b"max-age": b"60"}),
        (b"Max-Age=60, PUBLIC", {b"max-age": b"60", b"public": None}),
        (b'max-age="60"', {b"max-age": b"60"}),  # RFC 9111 section 5.2: both forms
        (b'private="set-cookie, x", no-cache', {b"private": b"set-cookie, x", b"no-cache": None}),
        (b'private=", X ,,y ,"', {b"private": b", X ,,y ,"}),
        (b"no-cache=x", {b"no-cache": b"x"}),
        (b'ext="a \\"no-store\\" b",public', {b"ext": b'a "no-store" b', b"public": None}),
        (b" , ,public,, ", {b"public": None}),
        (b"max-age=60,max-age=60", {b"max-age": b"60"}),
        (b"", {}),
    ],
)
def test_a_line_is_parsed_into_directives(line: bytes, directives: dict[bytes, bytes | None]) -> None:
    assert parse([line]) == directives


def test_several_lines_are_one_field() -> None:
    assert parse([b"public", b"max-age=5"]) == {b"public": None, b"max-age": b"5"}


def test_a_quoted_string_contains_no_directives() -> None:
    assert b"no-store" not in parse([b'ext="no-store, private"'])


@pytest.mark.parametrize("line", [b"no-store =x", b"no-store= x", b"x =no-store", b"x= no-store"])
def test_white_space_around_the_equals_sign_hides_no_directive(line: bytes) -> None:
    assert b"no-store" in parse([line])


def test_an_unterminated_quote_hides_no_directive() -> None:
    assert b"no-store" in parse([b'ext="oops, no-store'])


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"max-age=60;private", b"private"),
        (b"max-age=60;No-Store;x", b"no-store"),
        (b"max-age=60;no-cache=x", b"no-cache"),
        (b"public;private", b"private"),
        (b"private=1", b"private"),
        (b'private="True"', b"private"),
        (b'private=""', b"private"),
        (b'private=" , "', b"private"),
        (b'no-cache="x-a x-b"', b"no-cache"),
        (b'private="set-cookie; x"', b"private"),
        (b"no-cache=true", b"no-cache"),
    ],
)
def test_a_prohibition_that_is_written_wrongly_holds_for_the_whole_response(line: bytes, name: bytes) -> None:
    assert parse([line])[name] is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", None),
        (b"max-age=0", 0),
        (b"max-age=60;public", 0),
        (b"max-age=60", 60),
        (b"max-age=007", 7),
        (b"max-age", 0),
        (b"max-age=", 0),
        (b"max-age=-1", 0),
        (b"max-age=1.5", 0),
        (b"max-age=soon", 0),
        (b"max-age='60'", 0),
        (b"max-age=60, max-age=61", 0),  # RFC 9111 section 4.2.1: conflicting directives are stale
        (b"max-age=2147483649", MAX_DELTA_SECONDS),  # RFC 9111 section 1.2.2
        (b"max-age=" + b"9" * 5_000, MAX_DELTA_SECONDS),
        (b"max-age=\xd9\xa3", 0),
        (b"max-age =60", 0),  # the grammar has no white space
        (b"max-age= 60", 0),
        (b"max-age\t=60", 0),
    ],
)
def test_malformed_delta_seconds_are_zero_and_large_ones_are_capped(line: bytes, expected: int | None) -> None:
    assert seconds(parse([line]), b"max-age") == expected


@pytest.mark.parametrize(
    ("line", "directives"),
    [
        (b"max-age=60", {b"max-age": b"60"}),
        (b"max-age=60, no-store=?0", {b"max-age": b"60"}),
        (b"max-age=60;x=1, must-revalidate", {b"max-age": b"60", b"must-revalidate": None}),
        (b"max-age=60, max-age=5", {b"max-age": b"5"}),  # the last one counts in a structured dictionary
        (b'ext="a, no-store", max-age=1', {b"ext": b"a, no-store", b"max-age": b"1"}),
        (b'private="x, y"', {b"private": b"x, y"}),
        (b"max-age=-1", {b"max-age": b"-1"}),
        (b"private=?1", {b"private": None}),
        (b"no-cache=1", {b"no-cache": None}),
        (b"no-store, max-age=soon", {b"no-store": None, b"max-age": b"soon"}),  # it is well formed, and forbids storing
        (b's-maxage="60", private', {b"s-maxage": b"60", b"private": None}),
        (b'max-age="60", s-maxage=5', None),  # the wrong type: Cache-Control applies, which may forbid storing
        (b"max-age=1.5", None),
        (b"max-age", None),
        (b"max-age=soon", None),
        (b"no-store=?0", None),
        (b"max-age =60", None),
        (b"", None),
        (b"max-age=60, &&&", None),
        (b"MAX-AGE=60", None),
        (b"max-age=60,", None),
    ],
)
def test_a_targeted_field_is_a_structured_dictionary_or_ignored(
    line: bytes, directives: dict[bytes, bytes | None] | None
) -> None:
    assert parse_targeted([line]) == directives  # RFC 9213 section 2.1


@pytest.mark.parametrize(
    "text",
    [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"],
)
def test_a_date_is_parsed_in_all_three_formats_and_any_case(text: bytes) -> None:
    for written in (text, text.lower(), text.upper()):
        assert fields.date([written]) == 784_111_777.0  # RFC 9110 section 5.6.7


@pytest.mark.parametrize(
    "text",
    [
        b"0",
        b"",
        b"-1",
        b"tomorrow",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08:49:37 PST",
        b"Sun, 32 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 25:49:37 GMT",
        b"Sun, 06 Bad 1994 08:49:37 GMT",
        b"1994-11-06T08:49Z",
    ],
)
def test_any_other_date_is_malformed(text: bytes) -> None:
    assert fields.date([text]) is None


def test_tags_are_read_from_all_three_fields() -> None:
    headers = [
        (b"surrogate-key", b"one two"),
        (b"cache-tag", b"three, four and more"),
        (b"cache-groups", b'"five";x, "six"'),
        (b"surrogate-key", b""),
    ]
    assert fields.tags(headers) == {"one", "two", "three", "four and more", "five", "six"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a, b", {"a", "b"}),
        (b"a,b", {"a,b", "a", "b"}),
        (b"a ,b, ,", {"a", "b"}),
        (b"x:1,2 y", {"x:1,2", "x:1", "2", "y"}),
    ],
)
def test_surrogate_keys_may_be_separated_by_commas(value: bytes, expected: set[str]) -> None:
    assert fields.tags([(b"surrogate-key", value)]) == expected


def test_a_response_is_found_by_each_of_a_limited_number_of_tags() -> None:
    some = [f"t{number}" for number in range(fields.MAX_TAGS)]
    assert fields.are_indexable(some)
    assert not fields.are_indexable([*some, "one more"])
    assert fields.are_indexable(["x" * fields.MAX_TAG_LENGTH])
    assert not fields.are_indexable(["x" * (fields.MAX_TAG_LENGTH + 1)])
    assert not fields.are_indexable(["é" * (fields.MAX_TAG_LENGTH - 1)])
    assert not fields.are_indexable([f"{number:0250}" for number in range(fields.MAX_TAG_BYTES // 250 + 1)])


def test_connection_specific_fields_are_not_stored() -> None:
    headers = [(b"connection", b"close, X-Hop"), (b"x-hop", b"1"), (b"age", b"5"), (b"etag", b'"a"')]
    assert fields.storable(headers) == ((b"etag", b'"a"'),)  # RFC 9111 section 3.1


def test_a_variant_is_a_digest_that_distinguishes_absent_from_empty_and_field_from_field() -> None:
    vary = (b"a", b"b")
    requests: list[list[tuple[bytes, bytes]]] = [
        [],
        [(b"a", b"")],
        [(b"a", b"secret")],
        [(b"b", b"secret")],
        [(b"a", b"1:1:x")],
    ]
    variants = {fields.variant(request, vary) for request in requests}
    assert len(variants) == len(requests)
    assert not any(b"secret" in variant for variant in variants)
    assert fields.variant([(b"a", b" x   y ")], vary) == fields.variant([(b"a", b"x y")], vary)


@pytest.mark.parametrize(
    ("name", "one", "other", "same"),
    [
        (b"a", [b"1, 2"], [b"1,2"], True),
        (b"a", [b"1, 2"], [b" 1 ,2 "], True),
        (b"a", [b"1, 2"], [b"1", b"2"], True),
        (b"a", [b"1, 2"], [b"2, 1"], False),
        (b"a", [b'"1, 2"'], [b'"1,2"'], False),
        (b"a", [b"X"], [b"x"], False),
        (b"accept-language", [b"en, DE;q=0.5"], [b"EN,de;Q=0.5"], True),
        (b"accept-encoding", [b"gzip"], [b"GZIP"], True),
        (b"accept-language", [b"en, de"], [b"de, en"], False),  # the order may express a preference
        (b"accept-language", [b"en,de ; q=0.50,,fr;q=1.0"], [b"en, de;q=0.5, fr"], True),
        (b"accept-language", [b"en, en, de"], [b"en,de"], True),
        (b"accept-language", [b"de;q=0.5, en"], [b"en, de;q=0.5"], False),  # some backends take the first
        (b"accept-language", [b"e n"], [b"en"], False),  # malformed: backends may read it otherwise
        (b"accept-language", [b"fr;q=1.5"], [b"fr"], False),
        (b"accept-language", [b"fr;q=0"], [b"fr"], False),
        (b"accept", [b"text/x;p=A"], [b"text/x;p=a"], False),
    ],
)
def test_insignificant_differences_make_no_other_variant(  # RFC 9111 section 4.1
    name: bytes, one: list[bytes], other: list[bytes], same: bool
) -> None:
    first, second = (fields.variant([(name, line) for line in lines], (name,)) for lines in (one, other))
    assert (first == second) is same


@given(lines=st.lists(st.binary(max_size=200) | st.from_regex(rb'[a-z=",\\ -]{0,80}', fullmatch=True), max_size=4))
def test_no_input_raises(lines: list[bytes]) -> None:
    for name, argument in parse(lines).items():
        assert name == name.lower()
        assert (seconds({name: argument}, name) or 0) <= MAX_DELTA_SECONDS
    parse_targeted(lines)
    fields.date(lines)
    fields.age(lines)
    fields.tags([(b"cache-tag", line) for line in lines] + [(b"cache-groups", line) for line in lines])


@given(st.integers(0, 2**80))
def test_any_number_of_seconds_is_parsed_or_capped(number: int) -> None:
    assert delta_seconds(b"%d" % number) == min(number, MAX_DELTA_SECONDS)
