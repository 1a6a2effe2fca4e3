import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import BadRequest, GatewayError, HeadersTooLarge
from routing.http import Request
from routing.messages.validation import MAX_HEADER_BYTES, client_prefix, validate

HOST = (b"host", b"gateway")


def request(path: bytes = b"/api/v1/crm/contacts", *, method: str = "GET", **kwargs: object) -> Request:
    fields = kwargs.pop("headers", [HOST])
    return Request(method, path, b"", fields, "192.0.2.1", **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path",
    [
        b"/api/v1/crm/../admin",
        b"/api/v1/crm/..",
        b"/api/v1/crm/./x",
        b"/api/v1/crm/%2e%2e/admin",
        b"/api/v1/crm/%2E./admin",
        b"/api/v1/crm/..%2fadmin",
        b"/api/v1/crm/..\\admin",
        b"/api/v1/crm/..%5cadmin",
        b"/api/v1/crm/..;/admin",
        b"/api/v1/crm/..;a=b/admin",
    ],
)
def test_dot_segments_are_rejected_in_every_encoding(path: bytes) -> None:
    with pytest.raises(BadRequest):
        validate(request(path))


@pytest.mark.parametrize("path", [b"%252e%252e/admin", b"..%252fadmin", b"..%255cadmin", b"%25%32%65%2e/admin"])
def test_dot_segments_are_rejected_when_encoded_twice(path: bytes) -> None:
    with pytest.raises(BadRequest):
        validate(request(b"/api/v1/crm/" + path))


@pytest.mark.parametrize(
    "path", [b"%c0%ae%c0%ae/x", b"a%c0%af..", b"%e0%80%ae", b"%f0%80%80%af", b"%25c0%25af", b"\xc0\xaf"]
)
def test_overlong_utf_8_is_rejected(path: bytes) -> None:
    with pytest.raises(BadRequest):
        validate(request(b"/api/v1/crm/" + path))


@pytest.mark.parametrize("path", [b"/api/v1/crm/%00", b"/api/v1/crm/a%0d%0ab", b"/api/v1/crm/\x7f"])
def test_control_characters_are_rejected(path: bytes) -> None:
    with pytest.raises(BadRequest):
        validate(request(path))


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/api/v1/crm/",
        b"/api/v1/crm/a.b/.well-known/x",
        b"/api/v1/crm/a%20b;v=1/...",
        b"/api/v1/crm/a%2Fb",
        b"/api/v1/crm/%2f/x",
        b"/api/v1/crm/%C3%80%E0%A4%85%F0%9F%98%80/%E9",
        b"/api/v1/crm/\xc3\xbc",
    ],
)
def test_other_paths_are_accepted(path: bytes) -> None:
    validate(request(path))


@given(st.binary(max_size=40))
def test_any_path_is_accepted_or_rejected_with_an_error(path: bytes) -> None:
    try:
        validate(request(b"/" + path))
    except GatewayError as error:
        rejected_status: int = error.status
    else:
        rejected_status = 0
    assert rejected_status == 400 or b"/../" not in b"/" + path + b"/"


def test_header_fields_over_the_limit_are_rejected() -> None:
    oversized = request()
    oversized.headers.append((b"x", b"a" * MAX_HEADER_BYTES))
    with pytest.raises(HeadersTooLarge):
        validate(oversized)


def test_an_ipv6_client_is_identified_by_its_network() -> None:
    assert client_prefix("2001:db8::1") == client_prefix("2001:db8::ffff") == "2001:db8::/64"
    assert client_prefix("::ffff:192.0.2.1") == client_prefix("192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize("host", [b"", b"a b", b"a/b", b"user@a", b"a:b", b"[::1", b"a\x00"])
def test_a_malformed_host_is_rejected(host: bytes) -> None:
    with pytest.raises(BadRequest):
        validate(request(headers=[(b"host", host)]))


@pytest.mark.parametrize("host", [b"gateway", b"gateway.test:8000", b"192.0.2.1:80", b"[2001:db8::1]:80", b"a_b.test."])
def test_a_host_may_be_a_name_or_an_address_with_a_port(host: bytes) -> None:
    validate(request(headers=[(b"host", host)]))


def test_a_request_must_have_one_host() -> None:
    for fields in ([], [HOST, HOST]):
        with pytest.raises(BadRequest):
            validate(request(headers=fields))


def test_before_http_1_1_the_host_is_optional() -> None:
    validate(request(headers=[], version="1.0"))
    with pytest.raises(BadRequest):
        validate(request(headers=[HOST, HOST], version="1.0"))


@pytest.mark.parametrize(
    ("coding", "status"),
    [(b"gzip, chunked", 501), (b"gzip", 400), (b"identity", 400), (b"chunked, gzip", 400), (b"chunked, chunked", 400)],
)
def test_transfer_codings_other_than_chunked_are_rejected(coding: bytes, status: int) -> None:
    with pytest.raises(GatewayError) as raised:
        validate(request(headers=[HOST, (b"transfer-encoding", coding)]))
    assert raised.value.status == status
    validate(request(headers=[HOST, (b"transfer-encoding", b"Chunked")]))


@pytest.mark.parametrize(("method", "status"), [("TRACE", 405), ("CONNECT", 400), ("get", 501), ("a b", 501)])
def test_methods_that_would_disclose_the_gateways_fields_are_rejected(method: str, status: int) -> None:
    with pytest.raises(GatewayError) as raised:
        validate(request(method=method))
    assert raised.value.status == status


@pytest.mark.parametrize("method", ["FOO", "VERSION-CONTROL", "PROPFIND", "QUERY"])
def test_any_other_method_is_accepted(method: str) -> None:
    validate(request(method=method))


def test_only_options_may_name_no_path() -> None:
    validate(request(b"*", method="OPTIONS"))
    for path, method in ((b"*", "GET"), (b"a", "OPTIONS"), (b"", "GET"), (b"**", "OPTIONS")):
        with pytest.raises(BadRequest):
            validate(request(path, method=method))
