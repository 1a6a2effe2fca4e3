import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.configuration.conditions import conditions
from routing.messages.conditions import MAX_BODY, NO_DOCUMENT, json_document
from tests.processor_time import milliseconds

JSON = [(b"content-type", b"application/json; charset=utf-8")]
FALSE = {"body": {"ok": False}}
SLACK = {"status": 200, "body": {"ok": False, "error": ["internal_error", "fatal_error"]}}
GOOGLE = {"status": [403, 429], "body": {"error.errors.0.reason": ["rateLimitExceeded", "userRateLimitExceeded"]}}


def _matches(
    document: object, body: object, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> bool:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return conditions(document).matches(status, JSON if headers is None else headers, content)


@pytest.mark.parametrize(
    ("document", "status", "body"),
    [
        (SLACK, 200, {"ok": False, "error": "fatal_error"}),
        (GOOGLE, 403, {"error": {"errors": [{"reason": "userRateLimitExceeded"}]}}),
        ({"status": "5xx"}, 503, {}),
        ({"status": ["5XX", 429]}, 429, {}),
        ([{"status": 429}, SLACK], 429, {}),
        ({"body": {"0.errorCode": "REQUEST_LIMIT_EXCEEDED"}}, 403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED"}]),
        ({"body": {"0": "x"}}, 200, {"0": "x"}),
        ({"body": {"count": 1}}, 200, {"count": 1.0}),
        ({"body": {"error": None}}, 200, {"error": None}),
        (FALSE, 200, b'\xef\xbb\xbf{"ok": false}'),
        (FALSE, 200, b'{"ok": true, "ok": false}'),
    ],
)
def test_a_condition_holds(document: object, status: int, body: object) -> None:
    assert _matches(document, body, status)


@pytest.mark.parametrize(
    ("document", "status", "body"),
    [
        (SLACK, 200, {"ok": False, "error": "channel_not_found"}),
        (SLACK, 200, {"ok": True, "error": "fatal_error"}),
        (SLACK, 500, {"ok": False, "error": "fatal_error"}),
        (SLACK, 200, {"error": "fatal_error"}),
        (GOOGLE, 403, {"error": {"errors": []}}),
        (GOOGLE, 403, {"error": {"errors": "rateLimitExceeded"}}),
        (GOOGLE, 403, {"error": {"errors": [["rateLimitExceeded"]]}}),
        ({"body": {"ok": False}}, 200, {"ok": 0}),
        ({"body": {"count": 1}}, 200, {"count": True}),
        ({"body": {"count": 1}}, 200, {"count": "1"}),
        ({"body": {"error": None}}, 200, {}),
        ({"body": {"error": "x"}}, 200, {"error": ["x"]}),
        ({"body": {"items.99999999999999999999": "x"}}, 200, {"items": ["x"]}),
        ({"body": {"items.²": "x"}}, 200, {"items": ["x"]}),
        (FALSE, 200, b'{"ok": true, "ok": false, "ok": true}'),
    ],
)
def test_a_condition_does_not_hold(document: object, status: int, body: object) -> None:
    assert not _matches(document, body, status)


@pytest.mark.parametrize(
    ("document", "headers", "holds"),
    [
        ({"header": {"X-Foo": ["a", "b"]}}, [(b"x-foo", b"b")], True),
        ({"header": {"X-Foo": ["a", "b"]}}, [(b"x-foo", b"c"), (b"x-foo", b"a")], True),
        ({"header": {"X-Foo": "a"}}, [(b"x-foo", b"A")], False),
        ({"header": {"X-Foo": "a"}}, [], False),
        ({"header": {"x-ratelimit-remaining": 0}}, [(b"x-ratelimit-remaining", b"0")], True),
        ({"header": {"retry-after": True}}, [(b"retry-after", b"")], True),
        ({"header": {"retry-after": True}}, [], False),
        ({"header": {"retry-after": False}}, [], True),
        ({"status": 403, "header": {"retry-after": True}}, [(b"retry-after", b"1")], False),
    ],
)
def test_header_fields(document: object, headers: list[tuple[bytes, bytes]], holds: bool) -> None:
    assert _matches(document, b"", 200, headers) is holds


@pytest.mark.parametrize(
    "content_type", ["application/json", "APPLICATION/JSON", "text/json", "application/vnd.api+json; charset=utf-8"]
)
def test_json_by_content_type(content_type: str) -> None:
    assert _matches(FALSE, {"ok": False}, headers=[(b"content-type", content_type.encode())])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"text/plain")],
        [(b"content-type", b"text/html")],
        [(b"content-type", b"application/jsonx")],
        [(b"content-type", b"text/event-stream")],
        [(b"content-type", b"application/x-ndjson")],
        [(b"content-type", b"\xff\xfe")],
        [*JSON, (b"content-encoding", b"br")],
        [*JSON, (b"content-encoding", b"gzip, gzip")],
        [*JSON, (b"content-encoding", b"gzip")],
    ],
)
def test_what_is_not_json_by_its_header_fields_has_no_fields(headers: list[tuple[bytes, bytes]]) -> None:
    assert not _matches(FALSE, {"ok": False}, headers=headers)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"ok": false',
        b'{"ok": false} {}',
        b'{"ok": false, "n": NaN}',
        b'{"ok": false, "n": Infinity}',
        b'{"ok": false, "n": 1e999999}',
        b'{"ok": false, "s": "\xff"}',
        b'{"ok": false, "s": "\xed\xa0\x80"}',
        b'{"ok": false, "\xff": 1}',
        '{"ok": false}'.encode("utf-16"),
        b'{"ok": false, "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"ok": false, "deep": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}",
        b'{"ok": false, "s": "' + b"x" * MAX_BODY + b'"}',
    ],
)
def test_a_malformed_or_large_body_has_no_fields(body: bytes) -> None:
    assert not _matches(FALSE, body)


def test_a_hundred_levels_are_read() -> None:
    assert _matches(FALSE, b'{"ok": false, "deep": ' + b"[" * 100 + b"]" * 100 + b"}")


def test_an_unknown_body_has_no_fields() -> None:
    assert not conditions(FALSE).matches(200, JSON, None)
    assert conditions([FALSE, {"status": 200}]).matches(200, JSON, None)


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        (b"gzip", gzip.compress),
        (b"x-gzip", gzip.compress),
        (b"GZIP", gzip.compress),
        (b"gzip", lambda body: gzip.compress(body[:5]) + gzip.compress(body[5:])),  # RFC 1952 section 2.2
        (b"deflate", zlib.compress),
        (b"deflate", lambda body: zlib.compress(body)[2:-4]),  # without zlib's wrapper: RFC 9110 section 8.4.1.2
    ],
)
def test_a_compressed_body_is_decoded(coding: bytes, encode: Any) -> None:
    headers = [*JSON, (b"content-encoding", coding)]
    assert _matches(FALSE, encode(b'{"ok": false}'), headers=headers)
    assert not _matches(FALSE, encode(b'{"ok": true}'), headers=headers)
    assert not _matches(FALSE, encode(b'{"ok": false}')[:-6], headers=headers)


def test_a_compressed_body_has_a_limited_number_of_members() -> None:
    members = gzip.compress(b"") * 10_000
    headers = [*JSON, (b"content-encoding", b"gzip")]
    assert json_document(headers, members + gzip.compress(b"1")) is NO_DOCUMENT
    assert milliseconds(lambda: json_document(headers, members), limit=50) < 50


def test_a_compressed_body_is_decoded_up_to_the_limit() -> None:
    bomb = gzip.compress(b'{"ok": false, "s": "' + b"x" * 50_000_000 + b'"}')
    headers = [*JSON, (b"content-encoding", b"gzip")]
    assert len(bomb) < MAX_BODY
    assert json_document(headers, bomb) is NO_DOCUMENT
    assert milliseconds(lambda: json_document(headers, bomb), limit=50) < 50


def test_a_body_is_needed_only_where_it_decides() -> None:
    both = conditions([{"status": 429}, SLACK])
    assert both.needs_body
    assert both.needs_body_of(200, JSON)
    assert not both.needs_body_of(429, JSON)
    assert not conditions({"status": 429, "header": {"x": "y"}}).needs_body


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab0"), inner, max_size=3),
    max_leaves=8,
)


def _at(value: Any, path: list[str]) -> Any:
    for step in path:
        value = value[int(step) if isinstance(value, list) else step]
    return value


@given(value=JSON_VALUES, path=st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=4))
def test_a_path_finds_what_python_finds(value: Any, path: list[str]) -> None:
    try:
        found = _at(value, path)
    except (KeyError, IndexError, ValueError, TypeError):
        found = [[]]
    if isinstance(found, str) and isinstance(value, str):
        found = [[]]
    held = _matches({"body": {".".join(path): [True, None, "x", 0, 1]}}, value)
    expected = found is True or found is None or found == "x" or (not isinstance(found, bool) and found in (0, 1))
    assert held is expected


@given(status=st.integers(), body=st.binary(max_size=200), headers=st.lists(st.tuples(st.binary(), st.binary())))
def test_nothing_is_raised(status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    for coding in (b"", b"gzip", b"deflate"):
        conditions([SLACK, GOOGLE, FALSE]).matches(status, [*JSON, (b"content-encoding", coding), *headers], body)
