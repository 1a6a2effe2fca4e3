"""What proxies write of client certificates: Envoy, nginx, AWS, Traefik, HAProxy and RFC 9440."""

from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.authentication.certificates.pem import parse_client_cert, parse_pem
from routing.authentication.certificates.source import CertificateSource, SourceKind, parse_source
from routing.authentication.certificates.xfcc import parse_xfcc
from tests import certificates

CA = certificates.authority()
LEAF = certificates.client(CA)


def test_the_examples_of_envoys_documentation() -> None:
    one = (
        b"By=http://frontend.lyft.com;Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688;"
        b'Subject="/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client";URI=http://testclient.lyft.com'
    )
    assert parse_xfcc(one) == [
        {
            b"by": (b"http://frontend.lyft.com",),
            b"hash": (b"468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688",),
            b"subject": (b"/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client",),
            b"uri": (b"http://testclient.lyft.com",),
        }
    ]
    two = (
        b"By=http://frontend.lyft.com;Hash=468e;URI=http://testclient.lyft.com,"
        b"By=http://backend.lyft.com;Hash=9ba6;URI=http://frontend.lyft.com"
    )
    assert [element[b"hash"] for element in parse_xfcc(two)] == [(b"468e",), (b"9ba6",)]
    names = parse_xfcc(b"Hash=1;DNS=lyft.com;DNS=www.lyft.com")
    assert names[0][b"dns"] == (b"lyft.com", b"www.lyft.com")


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (rb'"CN=a\"b"', rb"CN=a\"b"),
        (rb'"O=Shop\, CN=admin,CN=web"', rb"O=Shop\, CN=admin,CN=web"),
        (rb'"CN=J\C3\B6rg"', rb"CN=J\C3\B6rg"),
        (rb'"CN=a\\"', rb"CN=a\\"),
        (b'"CN=a;Hash=forged,O=b"', b"CN=a;Hash=forged,O=b"),
        (b'""', b""),
    ],
)
def test_a_subject_is_as_rfc_2253_writes_it(subject: bytes, expected: bytes) -> None:
    """Envoy does not escape it again."""
    assert parse_xfcc(b"Hash=1;Subject=" + subject + b";URI=x") == [
        {b"hash": (b"1",), b"subject": (expected,), b"uri": (b"x",)}
    ]


@pytest.mark.parametrize(
    "value",
    [
        b'Hash=1;Subject="CN=a',
        b'Hash=1;Subject="CN=a"b',
        b"Hash=1;;URI=x",
        b"Hash=1;",
        b"Hash=1,",
        b"Hash",
        b"=1",
        b"Hash=1;Hash=2",
        b'Hash=1;Cert="a";Cert="b"',
        b"Hash=1;By=urn:abc:principal(service;None;i001)",
        b'Hash=1;URI=a"b',
        b",".join([b"Hash=1"] * 33),
        b";".join([b"URI=x"] * 257),
        b"Hash=" + b"x" * 70_000,
    ],
)
def test_other_texts_are_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_xfcc(value)


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), min_size=1, max_size=5))
def test_every_quoted_subject_is_read_as_it_was(subjects: list[str]) -> None:
    """No subject can add a pair or an element."""
    escaped = [subject.replace("\\", "\\\\").replace('"', '\\"') for subject in subjects]
    written = ",".join(f'Hash=1;Subject="{subject}"' for subject in escaped)
    assert [element[b"subject"][0].decode() for element in parse_xfcc(written.encode())] == escaped


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_raise_value_error(value: bytes) -> None:
    for parse in (parse_xfcc, parse_pem, lambda content: parse_client_cert(content, content)):
        try:
            parse(value)
        except ValueError:
            continue


def traefik(*issued: certificates.Issued) -> str:
    return ",".join(quote(each.base64) for each in issued)


@pytest.mark.parametrize(
    "value",
    [
        LEAF.escaped,
        quote(LEAF.pem, safe="+=/"),  # AWS
        LEAF.pem.replace("\n", "\n\t").rstrip().replace("\n", ""),  # nginx's deprecated $ssl_client_cert, unfolded
        LEAF.pem.strip().replace("\n", " "),
        LEAF.base64,
        traefik(LEAF),
    ],
)
def test_pem_in_a_field(value: str) -> None:
    assert parse_pem(value.encode()) == (LEAF.der,)


def test_chains() -> None:
    assert parse_pem((LEAF.escaped + CA.escaped).encode()) == (LEAF.der, CA.der)
    assert parse_pem(traefik(LEAF, CA).encode()) == (LEAF.der, CA.der)
    own, chain = f":{LEAF.base64}:".encode(), f":{CA.base64}:, :{CA.base64}:".encode()
    assert parse_client_cert(own, chain) == (LEAF.der, CA.der, CA.der)
    assert parse_client_cert(own, None) == (LEAF.der,)


@pytest.mark.parametrize(
    "value",
    ["", "x y", "-----BEGIN CERTIFICATE-----", LEAF.pem + "x", "AAA", ",".join([LEAF.base64] * 11), "A" * 70_000],
)
def test_other_pem_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_pem(value.encode())


@pytest.mark.parametrize(
    ("own", "chain"),
    [
        (LEAF.base64, ""),
        (f'"{LEAF.base64}"', ""),
        (f":{LEAF.base64}:, :{CA.base64}:", ""),
        (f":{LEAF.base64}:", f"({CA.base64})"),
        (f":{LEAF.base64}:", ", ".join([f":{b64encode(b'x').decode()}:"] * 10)),
        (":%:", ""),
    ],
)
def test_other_client_certs_are_refused(own: str, chain: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_client_cert(own.encode(), chain.encode())


def test_the_setting_names_a_format_and_its_fields() -> None:
    assert parse_source("XFCC") == CertificateSource(SourceKind.XFCC, "x-forwarded-client-cert")
    assert parse_source("xfcc spiffe://a/edge spiffe://a/b").proxies == ("spiffe://a/edge", "spiffe://a/b")
    assert parse_source("client-cert").fields == {b"client-cert", b"client-cert-chain"}
    found = parse_source("pem X-SSL-Client-Cert X-SSL-Client-Verify")
    assert (found.field, found.verified) == ("x-ssl-client-cert", "x-ssl-client-verify")
    assert parse_source("pem X-Cert").fields == {b"x-cert"}
    for text in ("nginx", "pem", "pem a b c", "pem a a", "pem authorization", "pem Host", "pem a:b", "client-cert x"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_source(text)
