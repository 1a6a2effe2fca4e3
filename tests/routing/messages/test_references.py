from functools import partial

import pytest

from routing.messages.references import (
    PublicAddress,
    rewrite_absolute,
    rewrite_cookie,
    rewrite_links,
    rewrite_reference,
    rewrite_refresh,
)
from tests.processor_time import milliseconds

TARGET = "http://10.1.1.1:9101/base"
ROOT = "http://10.1.1.1:9101"
PREFIX = b"/api/v1/crm"
PUBLIC = PublicAddress(PREFIX, b"gateway.example")
OWN_HOST = PublicAddress(b"", b"crm.example.com")


@pytest.mark.parametrize(
    ("location", "own"),
    [
        (b"http://10.1.1.1:9101/base/x?y=1#z", b"/api/v1/crm/x?y=1#z"),
        (b"http://10.1.1.1:9101/base", b"/api/v1/crm"),
        (b"http://10.1.1.1:9101/base/", b"/api/v1/crm/"),
        (b"//10.1.1.1:9101/base/x", b"/api/v1/crm/x"),
        (b"/base/x", b"/api/v1/crm/x"),
        (b"http://gateway.example/base/x", b"/api/v1/crm/x"),
        (b"http://gateway.example:80/base/x", b"/api/v1/crm/x"),
        (b"//gateway.example/base/x", b"/api/v1/crm/x"),
        (b"/api/v1/crm/x", b"/api/v1/crm/x"),
        (b"http://gateway.example/api/v1/crm/x", b"/api/v1/crm/x"),
        (b"https://gateway.example/base/x", b"https://gateway.example/api/v1/crm/x"),
    ],
)
def test_references_into_the_target_become_paths_of_the_gateway(location: bytes, own: bytes) -> None:
    assert rewrite_reference(location, TARGET, PUBLIC) == own


@pytest.mark.parametrize(
    ("location", "own"),
    [
        (b"/elsewhere", b"/elsewhere"),
        (b"/basement", b"/basement"),
        (b"http://10.1.1.1:9101/elsewhere?x", b"/elsewhere?x"),
        (b"x?y", b"x?y"),
        (b"../x", b"../x"),
        (b"?page=2", b"?page=2"),
        (b"", b""),
        (b"https://example.com/x", b"https://example.com/x"),
        (b"http://10.1.1.1:9999/x", b"http://10.1.1.1:9999/x"),
        (b"http://gateway.example:9000/base/x", b"http://gateway.example:9000/base/x"),
        (b"mailto:a@b.c", b"mailto:a@b.c"),
        (b"myapp://gateway.example/base/x", b"myapp://gateway.example/base/x"),
        (b"http://[bad", b"http://[bad"),
        (b"http://10.1.1.1:99999/x", b"http://10.1.1.1:99999/x"),
    ],
)
def test_references_outside_the_target_are_no_paths_of_the_service(location: bytes, own: bytes) -> None:
    assert rewrite_reference(location, TARGET, PUBLIC) == own


@pytest.mark.parametrize(
    ("location", "own"),
    [
        (b"/login/", b"/api/v1/crm/login/"),
        (b"http://gateway.example/login/", b"/api/v1/crm/login/"),
        (b"/", b"/api/v1/crm/"),
        (b"http://10.1.1.1:9101", b"/api/v1/crm/"),
    ],
)
def test_a_target_without_a_path_has_every_path(location: bytes, own: bytes) -> None:
    assert rewrite_reference(location, ROOT, PUBLIC) == own


def test_a_backend_whose_own_paths_look_like_the_prefix_is_not_taken_for_one_that_knows_it() -> None:
    public = PUBLIC._replace(path=b"/api/v1/crm/contacts")
    assert rewrite_reference(b"/api/v1/crm/x", ROOT, public) == b"/api/v1/crm/api/v1/crm/x"


def test_on_a_host_of_its_own_the_service_has_every_path() -> None:
    assert rewrite_reference(b"http://crm.example.com/base/login", TARGET, OWN_HOST) == b"/login"
    assert rewrite_reference(b"/base", TARGET, OWN_HOST) == b"/"
    assert rewrite_reference(b"/login", ROOT, OWN_HOST) == b"/login"


@pytest.mark.parametrize("location", [b"/base//evil.example/x", b"/base/\\evil.example/x"])
def test_no_path_becomes_a_reference_to_another_host(location: bytes) -> None:
    assert rewrite_reference(location, TARGET, OWN_HOST) == b"/." + location.removeprefix(b"/base")


def test_a_redirect_to_https_stays_one_and_https_is_not_left() -> None:
    https = PUBLIC._replace(scheme="https")
    assert rewrite_reference(b"https://gateway.example/x", ROOT, PUBLIC) == b"https://gateway.example/api/v1/crm/x"
    assert rewrite_reference(b"https://gateway.example/x", ROOT, https) == b"/api/v1/crm/x"
    assert rewrite_reference(b"http://gateway.example/x", ROOT, https) == b"/api/v1/crm/x"


def test_links_are_followed_within_the_service() -> None:
    value = (
        b'</base/items?page=2>; rel="next", <https://example.com/>; title="a, </base/x>", <http://10.1.1.1:9101/base/>'
    )
    assert rewrite_links(value, TARGET, PUBLIC) == (
        b'</api/v1/crm/items?page=2>; rel="next", <https://example.com/>; title="a, </base/x>", '
        b"<http://gateway.example/api/v1/crm/>"
    )


@pytest.mark.parametrize(
    ("value", "own"),
    [
        (b"5; url=/base/login", b"5; url=/api/v1/crm/login"),
        (b"0;URL='http://10.1.1.1:9101/base/x'", b"0;URL='/api/v1/crm/x'"),
        (b"30", b"30"),
        (b"5; url=https://example.com/", b"5; url=https://example.com/"),
    ],
)
def test_a_refresh_leads_into_the_service(value: bytes, own: bytes) -> None:
    assert rewrite_refresh(value, TARGET, PUBLIC) == own


@pytest.mark.parametrize(
    ("target", "public", "value", "own"),
    [
        (ROOT, PUBLIC, b"s=1; Path=/; HttpOnly", b"s=1; Path=/api/v1/crm; HttpOnly"),
        (ROOT, PUBLIC, b"s=1; path=/app;Secure", b"s=1; Path=/api/v1/crm/app;Secure"),
        (ROOT, PUBLIC, b"s=1", b"s=1"),
        (ROOT, PUBLIC, b"s=1; Path=/api/v1/crm/", b"s=1; Path=/api/v1/crm/"),
        (ROOT, PUBLIC, b"__Host-s=1; Path=/; Secure", b"__Host-s=1; Path=/; Secure"),
        (
            ROOT,
            PUBLIC,
            b"s=Path=/; Expires=Wed, 09 Jun 2027 10:18:14 GMT",
            b"s=Path=/; Expires=Wed, 09 Jun 2027 10:18:14 GMT",
        ),
        (ROOT, OWN_HOST, b"s=1; Path=/app", b"s=1; Path=/app"),
        (TARGET, PUBLIC, b"s=1; Path=/", b"s=1; Path=/api/v1/crm"),
        (TARGET, PUBLIC, b"s=1; Path=/base", b"s=1; Path=/api/v1/crm"),
        (TARGET, PUBLIC, b"s=1; Path=/base/app", b"s=1; Path=/api/v1/crm/app"),
        (TARGET, PUBLIC, b"s=1; Path=/other", b"s=1; Path=/api/v1/crm/other"),
        (TARGET, PUBLIC, b"s=1; Path=/api/v1/billing", b"s=1; Path=/api/v1/crm/api/v1/billing"),
        (TARGET, PUBLIC, b"s=1; Path=/admin; path=/api/v1", b"s=1; Path=/api/v1/crm/admin; Path=/api/v1/crm/api/v1"),
        (TARGET, OWN_HOST, b"s=1; Path=/other", b"s=1; Path=/other"),
        (TARGET, OWN_HOST, b"s=1; Path=/base/", b"s=1; Path=/"),
        (TARGET, OWN_HOST, b"s=1; Path=/", b"s=1; Path=/"),
        (ROOT, PUBLIC, b"s=1; Domain=10.1.1.1; Path=/a", b"s=1; Path=/api/v1/crm/a"),
        ("http://crm.internal", OWN_HOST, b"s=1; Domain=.internal", b"s=1"),
        ("http://a.example.com", OWN_HOST, b"s=1; Domain=example.com", b"s=1; Domain=example.com"),
        (ROOT, OWN_HOST, b"s=1; Domain=other.example", b"s=1; Domain=other.example"),
    ],
)
def test_cookies_are_for_the_service_as_the_client_sees_it(
    target: str, public: PublicAddress, value: bytes, own: bytes
) -> None:
    assert rewrite_cookie(value, target, public) == own


@pytest.mark.parametrize(
    "value", [b"<" * 32_000, b'"' + b"\\" * 32_000, b"1; url=" + b" " * 32_000, b"1" + b" " * 32_000, b"a;" * 16_000]
)
def test_long_fields_take_little_time(value: bytes) -> None:
    for rewrite in (rewrite_links, rewrite_refresh, rewrite_cookie, rewrite_reference):
        assert milliseconds(partial(rewrite, value, TARGET, PUBLIC), 50) < 50


@pytest.mark.parametrize(
    ("location", "own"),
    [
        (b"http://10.1.1.1:9101/base/x?upload_id=1", b"http://gateway.example/api/v1/crm/x?upload_id=1"),
        (b"HTTP://10.1.1.1:9101/base", b"http://gateway.example/api/v1/crm"),
        (b"http://gateway.example/base/x", b"http://gateway.example/api/v1/crm/x"),
        (b"/base/x", b"/api/v1/crm/x"),
        (b"x", b"x"),
        (b"//elsewhere.example/x", b"//elsewhere.example/x"),
        (b"https://elsewhere.example/base/x", b"https://elsewhere.example/base/x"),
        (b"http://10.1.1.1:9101/other", b"http://gateway.example/other"),
    ],
)
def test_the_location_of_what_was_created_is_absolute_if_it_was(location: bytes, own: bytes) -> None:
    assert rewrite_absolute(location, TARGET, PUBLIC) == own


def test_without_a_host_a_location_is_a_path() -> None:
    assert rewrite_absolute(b"http://10.1.1.1:9101/base/x", TARGET, PublicAddress(PREFIX)) == b"/api/v1/crm/x"
