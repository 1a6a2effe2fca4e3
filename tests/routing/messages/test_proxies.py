from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.http import Headers, Request, SharedFields, SharedHead
from routing.messages.proxies import MAX_HOPS, TrustedProxies, normal_address, parse_forwarded, parse_node, port_of
from tests.processor_time import milliseconds

PROXIES = TrustedProxies((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
PROXY = "10.0.0.1"
HOST = (b"host", b"gateway.test")


def received(*fields: tuple[bytes, bytes], peer: str = PROXY) -> tuple[str, str, bytes]:
    """The client, scheme and host of a request with these fields."""
    request = Request("GET", b"/", b"", [HOST, *fields], peer)
    PROXIES.apply(request)
    before = request.client, request.scheme, request.headers
    PROXIES.apply(request)
    assert (request.client, request.scheme, request.headers) == before
    assert dict(request.headers)[b"host"] == request.fields[b"host"]
    return request.client, request.scheme, request.fields[b"host"]


def client(*values: bytes, peer: str = PROXY) -> str:
    return received(*[(b"x-forwarded-for", value) for value in values], peer=peer)[0]


def test_an_untrusted_peer_cannot_choose_its_address() -> None:
    assert client(b"1.2.3.4", peer="192.0.2.1") == "192.0.2.1"
    forged = (
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"evil"),
        (b"forwarded", b"for=1.2.3.4;host=evil"),
    )
    assert received(*forged, peer="192.0.2.1") == ("192.0.2.1", "http", b"gateway.test")
    assert not TrustedProxies().trusts("10.0.0.1")


def test_behind_trusted_proxies_it_is_the_last_untrusted_address() -> None:
    assert client(b"6.6.6.6, 192.0.2.9", b"10.0.0.2") == "192.0.2.9"


def test_an_invalid_address_in_the_list_ends_the_search() -> None:
    assert client(b"1.2.3.4, junk, 10.0.0.3") == "10.0.0.3"


@pytest.mark.parametrize(
    ("node", "address"),
    [
        (b"203.0.113.8", "203.0.113.8"),
        (b"203.0.113.8:51234", "203.0.113.8"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"2001:DB8:0::1", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[2001:db8::1]:443", "2001:db8::1"),
        (b'"[2001:db8::1]:4711"', "2001:db8::1"),
        (b"[fe80::1%eth0]:443", "fe80::1"),
        (b"::ffff:203.0.113.8", "203.0.113.8"),
        (b"[::ffff:203.0.113.8]:80", "203.0.113.8"),
        (b"unknown", None),
        (b"_hidden", None),
        (b"", None),
        (b"[", None),
        (b"203.0.113.8:51234:1", None),
        (b"203.0.113", None),
        (b"1" * 200, None),
    ],
)
def test_a_node_is_an_address_with_or_without_a_port(node: bytes, address: str | None) -> None:
    assert parse_node(node) == address
    assert client(node) == (address or PROXY)


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "fd00::1", "10.255.255.255", "fd00::1%eth0"])
def test_a_proxy_is_trusted_by_its_address_in_any_form(peer: str) -> None:
    assert client(b"203.0.113.8", peer=peer) == "203.0.113.8"


@pytest.mark.parametrize(
    ("peer", "address"), [("::ffff:127.0.0.1", "127.0.0.1"), ("2001:db8::1", "2001:db8::1"), ("", ""), ("a:b", "a:b")]
)
def test_a_peers_address_has_one_form(peer: str, address: str) -> None:
    assert normal_address(peer) == address


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [
        (b"https", "https"),
        (b"HTTPS", "https"),
        (b"https,http", "https"),
        (b"https, http", "https"),
        (b"http", "http"),
        (b"wss", "https"),
        (b"ftp", "http"),
        (b"", "http"),
        (b",", "http"),
    ],
)
def test_a_trusted_proxy_sets_the_scheme(proto: bytes, scheme: str) -> None:
    assert received((b"x-forwarded-proto", proto))[1] == scheme
    assert received((b"x-forwarded-for", b"192.0.2.9"), (b"x-forwarded-proto", proto))[1] == scheme


def test_lists_that_each_proxy_appended_to_are_read_at_the_same_place() -> None:
    forged_by_the_client = (
        (b"x-forwarded-for", b"6.6.6.6, 192.0.2.9"),
        (b"x-forwarded-proto", b"https, http"),
        (b"x-forwarded-host", b"evil.test, a.test"),
    )
    assert received(*forged_by_the_client) == ("192.0.2.9", "http", b"a.test")
    two_proxies = (
        (b"x-forwarded-for", b"192.0.2.9, 10.0.0.2"),
        (b"x-forwarded-proto", b"https, http"),
        (b"x-forwarded-host", b"a.test, inner.test"),
    )
    assert received(*two_proxies) == ("192.0.2.9", "https", b"a.test")


def test_a_proxy_that_appends_a_host_to_the_clients_own_is_not_misled() -> None:
    fields = ((b"x-forwarded-for", b"192.0.2.9"), (b"x-forwarded-host", b"evil.test, a.test"))
    assert received(*fields)[2] == b"a.test"


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        (b"a.test", b"8443", b"a.test:8443"),
        (b"[2001:db8::1]", b"8443", b"[2001:db8::1]:8443"),
        (b"192.0.2.7", b"1", b"192.0.2.7:1"),
        (b"a.test:9000", b"8443", b"a.test:9000"),
        (b"[2001:db8::1]:9000", b"8443", b"[2001:db8::1]:9000"),
        (b"a.test:", b"8443", b"a.test:"),
        (b"a.test", b"443", b"a.test"),
        (b"a.test", b"80", b"a.test"),
        *((b"a.test", port, b"a.test") for port in (b"", b"0", b"65536", b"http", b"-1", b"8443x", b"1" * 30, b"+84")),
    ],
)
def test_a_port_of_a_trusted_proxy_completes_the_host(host: bytes, port: bytes, expected: bytes) -> None:
    fields = ((b"x-forwarded-proto", b"https"), (b"x-forwarded-port", port))
    assert received(*fields, (b"x-forwarded-host", host))[2] == expected
    request = Request("GET", b"/", b"", [(b"host", host), *fields], PROXY)
    PROXIES.apply(request)
    assert request.fields[b"host"] == expected
    assert received(*fields, (b"x-forwarded-host", host), peer="192.0.2.1")[2] == b"gateway.test"


def test_a_port_is_read_at_the_clients_place_and_not_beside_forwarded() -> None:
    lists = ((b"x-forwarded-for", b"192.0.2.9, 10.0.0.2"), (b"x-forwarded-port", b"8443, 9000"))
    assert received(*lists)[2] == b"gateway.test:8443"
    forged = ((b"x-forwarded-for", b"192.0.2.9"), (b"x-forwarded-port", b"6666, 8443"))
    assert received(*forged)[2] == b"gateway.test:8443"
    assert received((b"x-forwarded-port", b"8443"))[2] == b"gateway.test:8443"
    assert received((b"forwarded", b"for=192.0.2.9;proto=https"), (b"x-forwarded-port", b"8443"))[2] == b"gateway.test"
    two_hosts = Request("GET", b"/", b"", [HOST, HOST, (b"x-forwarded-port", b"8443")], PROXY)
    PROXIES.apply(two_hosts)
    assert [value for name, value in two_hosts.headers if name == b"host"] == [b"gateway.test"] * 2


@pytest.mark.parametrize(
    ("host", "scheme", "port"),
    [
        (b"a.test", "http", 80),
        (b"a.test", "https", 443),
        (b"a.test:8443", "https", 8443),
        (b"[::1]", "https", 443),
        (b"[::1]:81", "http", 81),
        (b"a.test:", "http", 80),
        (b"a.test:x", "http", 80),
        (b"a.test:123456789", "http", 80),
        (b"", "http", 80),
    ],
)
def test_the_port_of_a_host(host: bytes, scheme: str, port: int) -> None:
    assert port_of(host, scheme) == port


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"for=192.0.2.9", ("192.0.2.9", "http", b"gateway.test")),
        (b"For=192.0.2.9;Proto=HTTPS;Host=a.test", ("192.0.2.9", "https", b"a.test")),
        (b'for="[2001:db8::1]:4711";proto=https', ("2001:db8::1", "https", b"gateway.test")),
        (b'for=[2001:db8::1];host="a.test:8443"', ("2001:db8::1", "http", b"a.test:8443")),
        (b'for="192.0.2.9:80" ; host="a\\.test" ,for=10.0.0.2', ("192.0.2.9", "http", b"a.test")),
        (b"for=6.6.6.6;proto=https, for=192.0.2.9", ("192.0.2.9", "http", b"gateway.test")),
        (b"for=_hidden;proto=https", (PROXY, "https", b"gateway.test")),
        (b"for=unknown, for=10.0.0.2", ("10.0.0.2", "http", b"gateway.test")),
        (b"proto=https;by=_x", (PROXY, "https", b"gateway.test")),
        (b"for=192.0.2.9, for=10.0.0.2;proto=https;host=a.test", ("192.0.2.9", "https", b"a.test")),
        (b"for=192.0.2.9;for=6.6.6.6", (PROXY, "http", b"gateway.test")),
        (b'for="192.0.2.9', (PROXY, "http", b"gateway.test")),
        (b"192.0.2.9", (PROXY, "http", b"gateway.test")),
        (b"for=192.0.2.9;;proto=https;", ("192.0.2.9", "https", b"gateway.test")),
        (b", for=192.0.2.9, ", ("192.0.2.9", "http", b"gateway.test")),
    ],
)
def test_forwarded_is_read_as_rfc_7239_defines_it(value: bytes, expected: tuple[str, str, bytes]) -> None:
    assert received((b"forwarded", value)) == expected


def test_forwarded_is_ignored_beside_x_forwarded_fields() -> None:
    """A proxy that sets the one kind passes the other kind on as the client wrote it."""
    fields = ((b"forwarded", b"for=6.6.6.6;proto=https;host=evil.test"), (b"x-forwarded-for", b"192.0.2.9"))
    assert received(*fields) == ("192.0.2.9", "http", b"gateway.test")


def test_a_request_with_another_host_shares_no_memo_with_what_was_received() -> None:
    headers: Headers = [HOST, (b"x-forwarded-host", b"a.test")]
    request = Request("GET", b"/", b"", headers, PROXY, shared_head=SharedHead(SharedFields()))
    PROXIES.apply(request)
    assert request.shared_head is None
    assert headers[0] == HOST


def test_a_second_host_is_left_to_be_rejected() -> None:
    headers: Headers = [HOST, HOST, (b"x-forwarded-host", b"a.test")]
    request = Request("GET", b"/", b"", headers, PROXY)
    PROXIES.apply(request)
    assert request.headers is headers


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"])
@pytest.mark.parametrize(
    "part", [b"10.0.0.1,", b",", b"for=10.0.0.1,", b"for=,", b'"\\', b"a=b;", b" ", b'for="', b"a"]
)
def test_a_list_of_32_kb_costs_no_time(name: bytes, part: bytes) -> None:
    value = part * (32_000 // len(part))
    assert milliseconds(lambda: received((name, value)), 20) < 20  # `received` reads it twice


def test_no_more_than_32_hops_are_followed() -> None:
    assert client(b"192.0.2.9" + b", 10.0.0.2" * (MAX_HOPS - 1)) == "192.0.2.9"
    assert client(b"192.0.2.9" + b", 10.0.0.2" * MAX_HOPS) == "10.0.0.2"


NODES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]:443"),
    st.sampled_from(["10.0.0.9", "unknown", "_x", "", "10.0.0.9:80"]),
)


@given(st.lists(NODES, max_size=6), st.lists(NODES, max_size=3))
def test_what_a_client_sends_first_never_matters(forged: list[str], appended: list[str]) -> None:
    """The last untrusted address that proxies appended is the same, whatever stands before it."""
    trusted = ["192.0.2.9", *[node for node in appended if node.startswith("10.")]]
    assert client(", ".join([*forged, *trusted]).encode()) == "192.0.2.9"


@given(st.binary(max_size=60))
def test_any_value_of_forwarded_is_parsed_or_ignored(value: bytes) -> None:
    assert isinstance(parse_forwarded(value), list)
