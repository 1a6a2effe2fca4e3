from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import BadRequest, GatewayError, HeadersTooLarge
from routing.http import Request
from routing.messages.validation import MAX_HEADER_BYTES, client_address, client_prefix, client_scheme, validate

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


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
def test_dot_segments_are_refused_however_they_are_written(path: bytes) -> None:
    with pytest.raises(BadRequest):
        validate(request(path))


@pytest.mark.parametrize("path", [b"//api/v1/crm", b"/api/v1/crm//x", b"/api/v1//crm", b"/api/v1/crm/%2f/x"])
def test_empty_segments_are_refused(path: bytes) -> None:
    with pytest.raises(BadRequest):
        validate(request(path))


@pytest.mark.parametrize("path", [b"/api/v1/crm/%00", b"/api/v1/crm/a%0d%0ab", b"/api/v1/crm/\x7f"])
def test_control_characters_are_refused(path: bytes) -> None:
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
        b"/api/v1/crm/\xc3\xbc",
    ],
)
def test_other_paths_pass_as_they_are(path: bytes) -> None:
    validate(request(path))


@given(st.binary(max_size=40))
def test_whatever_the_path_it_passes_or_is_refused_with_a_status(path: bytes) -> None:
    try:
        validate(request(b"/" + path))
    except GatewayError as error:
        refused: int = error.status
    else:
        refused = 0
    assert refused == 400 or b"/../" not in b"/" + path + b"/"


def test_header_fields_beyond_the_bound_are_refused() -> None:
    asked = request()
    asked.headers.append((b"x", b"a" * MAX_HEADER_BYTES))
    with pytest.raises(HeadersTooLarge):
        validate(asked)


def test_a_stranger_cannot_choose_its_address() -> None:
    assert client_address("192.0.2.1", [(b"x-forwarded-for", b"1.2.3.4")], PROXIES) == "192.0.2.1"
    assert client_address("10.0.0.1", [(b"x-forwarded-for", b"1.2.3.4")], ()) == "10.0.0.1"


def test_behind_proxies_it_is_the_last_address_they_do_not_vouch_for() -> None:
    headers = [(b"x-forwarded-for", b"6.6.6.6, 192.0.2.9"), (b"x-forwarded-for", b"10.0.0.2")]
    assert client_address("10.0.0.1", headers, PROXIES) == "192.0.2.9"


def test_garbage_in_the_list_stops_the_reading() -> None:
    assert client_address("10.0.0.1", [(b"x-forwarded-for", b"1.2.3.4, junk, 10.0.0.3")], PROXIES) == "10.0.0.3"


def test_the_scheme_is_a_trusted_proxys_to_say() -> None:
    headers = [(b"x-forwarded-proto", b"https")]
    assert client_scheme("10.0.0.1", "http", headers, PROXIES) == "https"
    assert client_scheme("192.0.2.1", "http", headers, PROXIES) == "http"


def test_one_client_holds_a_whole_ipv6_network() -> None:
    assert client_prefix("2001:db8::1") == client_prefix("2001:db8::ffff") == "2001:db8::/64"
    assert client_prefix("::ffff:192.0.2.1") == client_prefix("192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize("host", [b"", b"a b", b"a/b", b"user@a", b"a:b", b"[::1", b"a\x00"])
def test_a_malformed_host_is_refused(host: bytes) -> None:
    with pytest.raises(BadRequest):
        validate(request(headers=[(b"host", host)]))


@pytest.mark.parametrize("host", [b"gateway", b"gateway.test:8000", b"192.0.2.1:80", b"[2001:db8::1]:80", b"a_b.test."])
def test_a_host_may_be_a_name_or_an_address_with_a_port(host: bytes) -> None:
    validate(request(headers=[(b"host", host)]))


def test_a_request_names_one_host() -> None:
    for fields in ([], [HOST, HOST]):
        with pytest.raises(BadRequest):
            validate(request(headers=fields))


def test_before_1_1_it_need_not() -> None:
    validate(request(headers=[], version="1.0"))
    with pytest.raises(BadRequest):
        validate(request(headers=[HOST, HOST], version="1.0"))


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip", b"identity"])
def test_a_body_in_another_coding_than_chunks_is_refused_for_it_would_arrive_as_something_else(coding: bytes) -> None:
    with pytest.raises(BadRequest):
        validate(request(headers=[HOST, (b"transfer-encoding", coding)]))
    validate(request(headers=[HOST, (b"transfer-encoding", b"Chunked")]))


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_what_would_show_a_caller_the_gateways_own_fields_is_refused(method: str) -> None:
    with pytest.raises(BadRequest):
        validate(request(method=method))
