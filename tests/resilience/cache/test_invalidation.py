"""Invalidation by unsafe requests (RFC 9111 section 4.4, RFC 9875)."""

import pytest

from resilience.cache.invalidation import invalidated_tags, invalidates, uri_tag
from tests.resilience.cache.messages import Headers, pairs

PREFIX = b"/api/v1/crm"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPPATCH", "get", "UNKNOWN"])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, True),
        (201, True),
        (204, True),
        (303, True),
        (301, True),
        (400, False),
        (404, False),
        (500, False),
        (101, False),
    ],
)
def test_a_non_error_response_to_an_unsafe_method_invalidates(method: str, status: int, expected: bool) -> None:
    assert invalidates(method, status) is expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"])
def test_a_safe_method_invalidates_nothing(method: str) -> None:
    assert not invalidates(method, 200)


@pytest.mark.parametrize(
    ("headers", "uris"),
    [
        ([], []),
        (pairs(location="/api/v1/crm/b"), [(b"/b", b"")]),
        (pairs(location="/api/v1/crm/b?q=1"), [(b"/b", b"q=1")]),
        (pairs(content_location="/api/v1/crm/b"), [(b"/b", b"")]),
        (pairs(location="/api/v1/crm/b", content_location="/api/v1/crm/c"), [(b"/b", b""), (b"/c", b"")]),
        (pairs(location="b"), [(b"/x/b", b"")]),
        (pairs(location="../b"), [(b"/b", b"")]),
        (pairs(location="?q=1"), [(b"/x/a", b"q=1")]),
        (pairs(location="/api/v1/crm/b#part"), [(b"/b", b"")]),
        (pairs(location=" /api/v1/crm/b "), [(b"/b", b"")]),
        (pairs(location="/api/v1/other/b"), []),
        (pairs(location="/api/v1/crmother/b"), []),
        (pairs(location="/elsewhere"), []),
        (pairs(location="../../../../etc"), []),
        (pairs(location="http://elsewhere.test/api/v1/crm/b"), []),
        (pairs(location="//elsewhere.test/api/v1/crm/b"), []),
        (pairs(location="http://[broken"), []),
        ([(b"location", b"/api/v1/crm/\xff")], [(b"/\xff", b"")]),
    ],
)
def test_the_target_uri_and_same_origin_references_are_invalidated(
    headers: Headers, uris: list[tuple[bytes, bytes]]
) -> None:
    expected = {uri_tag(b"/x/a", b"q"), *(uri_tag(path, query) for path, query in uris)}
    assert invalidated_tags(b"/x/a", b"q", headers, PREFIX) == expected


def test_a_service_under_its_own_host_has_no_prefix() -> None:
    assert uri_tag(b"/b", b"") in invalidated_tags(b"/a", b"", pairs(location="/b"), b"")


@pytest.mark.parametrize(
    ("location", "is_own"),
    [
        ("http://gw.example:80/p/b", True),
        ("/p/b", True),
        ("//gw.example:80/p/b", True),
        ("b", True),
        ("https://gw.example:80/p/b", False),
        ("http://other.example/p/b", False),
        ("http://gw.example:80/q/b", False),
    ],
)
def test_a_prefix_with_an_origin_has_absolute_references_too(location: str, is_own: bool) -> None:
    tags = invalidated_tags(b"/a", b"", pairs(location=location), b"http://gw.example:80/p")
    assert (uri_tag(b"/b", b"") in tags) is is_own


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        ('"a"', {"a"}),
        ('"a", "b c"', {"a", "b c"}),
        ("a", set()),
        ("", set()),
        ('"' + "x" * 300 + '"', set()),
    ],
)
def test_named_groups_are_invalidated(value: str, groups: set[str]) -> None:  # RFC 9875 section 3
    tags = invalidated_tags(b"/a", b"", pairs(cache_group_invalidation=value), PREFIX)
    assert tags - {uri_tag(b"/a", b"")} == groups


def test_no_two_uris_share_a_tag() -> None:
    parts = [(b"/a", b""), (b"/a", b"b"), (b"/ab", b""), (b"/", b"ab"), (b"/A", b"")]
    assert len({uri_tag(path, query) for path, query in parts}) == len(parts)
