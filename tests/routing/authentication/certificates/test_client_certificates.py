"""Which certificate of a request counts, whether it is trusted, and whose it is."""

from base64 import b64decode, b64encode

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from routing.authentication.certificates.callers import CertificateCallers, identity_values
from routing.authentication.certificates.certificate import ClientCertificate
from routing.authentication.certificates.client_certificates import ClientCertificates
from routing.authentication.certificates.distinguished_name import spellings
from routing.authentication.certificates.errors import InvalidCertificate
from routing.authentication.certificates.source import parse_source
from routing.authentication.certificates.trust import trust_in
from routing.consumers.identities import IdentityRecord, IdentityTable
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable
from routing.http import Headers, Request
from tests import certificates
from tests.certificates import DAY, NOW, attribute
from tests.clock import FakeClock

CA, OTHER_CA = certificates.authority(), certificates.authority("Other CA")
MIDDLE = certificates.authority("Middle", CA)
OTHER = certificates.client(CA, "other")
LEAF = certificates.client(CA, "web", uris=["spiffe://acme/ns/shop/web"], dns=["Web.Acme.test"])
BELOW = certificates.client(MIDDLE, "below")
VERSION_1 = (
    "MIIBNzCB3QIUFjwY5/kyxks90jFR90ozk+VaV1IwCgYIKoZIzj0EAwIwHTENMAsGA1UECgwEQWNtZTEMMAoGA1UEAwwDd2ViMCAX"
    "DTI2MTEzMDE3MDQzOVoYDzIxMjYxMTA2MTcwNDM5WjAdMQ0wCwYDVQQKDARBY21lMQwwCgYDVQQDDAN3ZWIwWTATBgcqhkjOPQIB"
    "BggqhkjOPQMBBwNCAASk55KNivyAIeEA7i2UWNNh7YqB2d08MzTAdumnqUWcWnFPAEVCu33efPcQSwAHC8tRi/Vm3BacX16HIMD+"
    "rH/ZMAoGCCqGSM49BAMCA0kAMEYCIQDgpkWM3Bce//4DSskrgaoloCE7iqRsYO+ERQ9zb3arEwIhAKsMjAppVeHLJY2Mm3SzTZBG"
    "/ialNDaI8Eifql8/AkV6"
)
"""As `openssl x509 -req` without -extfile makes it, which many instructions do."""


def request(*fields: tuple[str, str], via_proxy: bool = True, peer: tuple[bytes, ...] = ()) -> Request:
    headers: Headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
    found = Request("GET", b"/", b"", headers, "192.0.2.1")
    found.via_proxy, found.peer_certificates = via_proxy, peer
    return found


def reader(text: str, *, roots: str = "", clock: FakeClock | None = None) -> ClientCertificates:
    source = msgspec.structs.replace(parse_source(text), roots=roots.encode())
    return ClientCertificates(source, clock or FakeClock(NOW.timestamp()))


def escaped(der: bytes) -> str:
    return b64encode(der).decode()


def refused(found: ClientCertificates, sent: Request) -> str:
    with pytest.raises(InvalidCertificate) as caught:
        found.find(sent)
    return caught.value.detail


def test_a_certificate_in_pem_is_described() -> None:
    found = reader("pem X-Cert").find(request(("X-Cert", LEAF.escaped)))
    assert found == ClientCertificate(
        fingerprint=LEAF.fingerprint,
        subject="CN=web,O=Acme",
        uris=("spiffe://acme/ns/shop/web",),
        dns=("web.acme.test",),
        begins=(NOW - DAY).timestamp(),
        ends=(NOW + 30 * DAY).timestamp(),
        issuer=CA.certificate.subject.public_bytes(),
        serial=LEAF.certificate.serial_number,
    )


def test_only_trusted_proxies_and_their_field_are_read() -> None:
    found = reader("pem X-Cert")
    assert found.find(request(("X-Cert", LEAF.escaped), via_proxy=False)) is None
    assert found.find(request(("X-Forwarded-Client-Cert", f"Hash={LEAF.fingerprint}"))) is None
    assert found.find(request()) is None
    assert found.find(request(("X-Cert", ""))) is None
    assert found.find(request(("X-Cert", "(null)"))) is None


@pytest.mark.parametrize("form", ["escaped", "base64"])
def test_a_repeated_field_is_refused(form: str) -> None:
    """The first of two base64 fields would read as the certificate, and the proxy's own as its chain."""
    sent = request(("X-Cert", getattr(OTHER, form)), ("X-Cert", getattr(LEAF, form)))
    for roots in ("", CA.pem):
        assert refused(reader("pem X-Cert", roots=roots), sent) == (
            "more than one field x-cert: the proxy must replace what clients send"
        )


def test_a_listener_hands_in_the_certificate_of_its_peer() -> None:
    """Of a proxy's connection, it is that of the proxy."""
    found = reader("pem X-Cert", roots=CA.pem)
    sent = request(via_proxy=False, peer=(LEAF.der,))
    certificate = found.find(sent)
    assert certificate is not None
    assert certificate.fingerprint == LEAF.fingerprint
    assert found.find(request(peer=(LEAF.der,))) is None
    assert found.find(request(("X-Cert", BELOW.escaped + MIDDLE.escaped), peer=(LEAF.der,))) == found.find(
        request(via_proxy=False, peer=(BELOW.der, MIDDLE.der))
    )
    assert ClientCertificates(None, FakeClock(NOW.timestamp())).find(sent) is not None


def test_the_dates_of_a_certificate_hold_at_each_use() -> None:
    clock = FakeClock(NOW.timestamp())
    found, sent = reader("pem X-Cert", roots=CA.pem, clock=clock), request(("X-Cert", LEAF.escaped))
    for _ in range(3):
        assert found.find(sent) is not None
    clock.now = (NOW + 30 * DAY).timestamp()
    assert refused(found, sent) == "the client certificate has expired"
    clock.now = (NOW - 2 * DAY).timestamp()
    assert refused(found, sent) == "the client certificate is not valid yet"


@pytest.mark.parametrize(
    ("issued", "chain", "is_trusted"),
    [
        (LEAF, (), True),
        (BELOW, (MIDDLE,), True),
        (BELOW, (), False),
        (BELOW, (OTHER_CA, MIDDLE), True),
        (certificates.client(OTHER_CA), (), False),
        (certificates.client(OTHER_CA), (OTHER_CA,), False),
        (certificates.client(certificates.authority()), (), False),  # of the same name
        (certificates.client(LEAF), (LEAF,), False),  # not an authority
        (certificates.client(CA, purposes=()), (), True),
        (certificates.client(CA, purposes=[ExtendedKeyUsageOID.SERVER_AUTH]), (), False),
        (certificates.client(CA, purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), (), True),
    ],
)
def test_a_certificate_needs_a_path_to_an_authority_and_the_purpose(
    issued: certificates.Issued, chain: tuple[certificates.Issued, ...], is_trusted: bool
) -> None:
    found = reader("client-cert", roots=CA.pem)
    fields = [("Client-Cert", f":{issued.base64}:")]
    if chain:
        fields.append(("Client-Cert-Chain", ", ".join(f":{each.base64}:" for each in chain)))
    if is_trusted:
        assert found.find(request(*fields)) is not None
    else:
        purpose = "is not for the authentication of clients" in refused(found, request(*fields))
        assert purpose or "not issued by an authority" in refused(found, request(*fields))
    assert reader("client-cert").find(request(*fields)) is not None, "the proxy has verified it"


def test_why_a_certificate_of_a_trusted_authority_is_refused() -> None:
    """What its owner has to change, and not its authority."""
    found = reader("pem X-Cert", roots=CA.pem)
    server = certificates.client(CA, purposes=[ExtendedKeyUsageOID.SERVER_AUTH])
    assert refused(found, request(("X-Cert", server.escaped))) == (
        "the client certificate is not for the authentication of clients (extended key usage)"
    )
    assert "of version 1" in refused(found, request(("X-Cert", VERSION_1)))
    short = certificates.client(CA, key=rsa.generate_private_key(65_537, 1_024))  # noqa: S505 - it is refused
    assert "less than 2048 bits" in refused(found, request(("X-Cert", short.escaped)))
    trusting = reader("pem X-Cert", clock=FakeClock(1_800_000_000))
    assert trusting.find(request(("X-Cert", VERSION_1))) is not None, "the proxy has verified it"


@pytest.mark.parametrize("roots", ["", CA.pem])
@pytest.mark.parametrize(
    ("der", "detail"),
    [
        (certificates.of_version(CA, 6), "5 is not a valid X509 version"),
        (certificates.with_extension(CA, "2.5.29.17", b"\x30\x04\xa5\x02\x81\x00"), "not supported types"),
        (certificates.with_extension(CA, "2.5.29.17", b"\x30\x02\xa3\x00"), "not supported types"),
        (certificates.with_extension(CA, "2.5.29.17", b"\x05\x00"), "cannot be read"),
        (certificates.with_extension(CA, "2.5.29.17", b"\x30\x00", twice=True), "Duplicate 2.5.29.17"),
    ],
)
def test_certificates_that_cannot_be_read_are_refused(der: bytes, detail: str, roots: str) -> None:
    assert detail in refused(reader("pem X-Cert", roots=roots), request(("X-Cert", escaped(der))))


def test_names_that_no_identity_can_have_are_left_out() -> None:
    """A long subject is usual in qualified certificates; the others tell who it is."""
    long = certificates.client(CA, "x" * 60, uris=["spiffe://acme/web"], units=["y" * 60] * 4)
    certificate = reader("pem X-Cert", roots=CA.pem).find(request(("X-Cert", long.escaped)))
    assert certificate is not None
    assert (certificate.subject, certificate.uris) == ("", ("spiffe://acme/web",))
    odd = certificates.client(CA, "a\u2028b")
    certificate = reader("pem X-Cert", roots=CA.pem).find(request(("X-Cert", odd.escaped)))
    assert certificate is not None
    assert list(identity_values(certificate)) == [
        f"sha256:{odd.fingerprint}",
        r"subject:CN=a\E2\80\A8b,O=Acme",
        "*",
    ]


def test_authorities_that_nothing_can_be_verified_with_are_an_error_at_the_start() -> None:
    """Every certificate would be refused, each by a message about the client."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([attribute("CN", "Ed25519 CA")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW + DAY)
    other = builder.sign(key, None).public_bytes(Encoding.PEM)
    old = b64decode(VERSION_1)
    first = b"-----BEGIN CERTIFICATE-----\n" + b64encode(old) + b"\n-----END CERTIFICATE-----\n"
    for roots in (other, first, other + first):
        with pytest.raises(ValueError, match="no authority has an RSA key or one on P-256"):
            trust_in(roots)
    assert trust_in(other + first + CA.pem.encode())([LEAF.certificate], NOW.timestamp())


def test_an_authority_that_has_ended_is_noticed() -> None:
    short = certificates.authority("Short", CA, ends=NOW + DAY)
    leaf = certificates.client(short)
    clock = FakeClock(NOW.timestamp())
    found = reader("pem X-Cert", roots=CA.pem, clock=clock)
    sent = request(("X-Cert", leaf.escaped + short.escaped))
    for _ in range(3):
        assert found.find(sent) is not None
    clock.now = (NOW + 2 * DAY).timestamp()
    assert "not issued by an authority" in refused(found, sent)


def test_the_verdict_of_the_proxy() -> None:
    found = reader("pem X-Cert X-Verify")
    for verdict in ("SUCCESS", "0"):
        assert found.find(request(("X-Cert", LEAF.escaped), ("X-Verify", verdict))) is not None
    for fields in ([("X-Verify", "FAILED:expired")], [("X-Verify", "NONE")], [], [("X-Verify", "SUCCESS")] * 2):
        assert refused(found, request(("X-Cert", LEAF.escaped), *fields)) == (
            "the proxy has not verified the client certificate"
        )
    assert found.find(request(("X-Verify", "NONE"))) is None


def test_xfcc_with_names_only() -> None:
    found = reader("xfcc")
    text = (
        f'By=spiffe://acme/gw;Hash={LEAF.fingerprint.upper()};Subject="CN=web,O=Acme";URI=spiffe://acme/web;DNS=A.test'
    )
    certificate = found.find(request(("X-Forwarded-Client-Cert", text)))
    assert certificate == ClientCertificate(
        fingerprint=LEAF.fingerprint, subject="CN=web,O=Acme", uris=("spiffe://acme/web",), dns=("a.test",)
    )
    needs = refused(reader("xfcc", roots=CA.pem), request(("X-Forwarded-Client-Cert", text)))
    assert "has not sent the client certificate" in needs
    for bad in ("URI=spiffe://acme/admin", "Hash=xyz", f"Hash={LEAF.fingerprint};URI=a;URI=b", "Hash=1;Subject=\x07"):
        assert "cannot be read" in refused(found, request(("X-Forwarded-Client-Cert", bad)))


def test_xfcc_with_the_certificate_is_that_certificate() -> None:
    """Whatever the names beside it: Envoy does not quote URIs, so that one may contain others."""
    found = reader("xfcc", roots=CA.pem)
    forged = f'Hash={LEAF.fingerprint};Cert="{LEAF.escaped}";URI=spiffe://acme/x;URI=spiffe://acme/admin'
    certificate = found.find(request(("X-Forwarded-Client-Cert", forged)))
    assert certificate is not None
    assert certificate.uris == ("spiffe://acme/ns/shop/web",)
    other = f'Hash={CA.fingerprint};Cert="{LEAF.escaped}"'
    assert "another certificate" in refused(found, request(("X-Forwarded-Client-Cert", other)))
    chain = f'Hash={BELOW.fingerprint};Cert="{BELOW.escaped}";Chain="{BELOW.escaped}{MIDDLE.escaped}"'
    assert found.find(request(("X-Forwarded-Client-Cert", chain))) is not None
    alone = f'Hash={BELOW.fingerprint};Chain="{BELOW.escaped}{MIDDLE.escaped}"'
    assert found.find(request(("X-Forwarded-Client-Cert", alone))) is not None


def test_xfcc_of_several_proxies() -> None:
    client, edge = f"Hash={LEAF.fingerprint};URI=spiffe://acme/web", f"Hash={CA.fingerprint};URI=spiffe://acme/edge"
    both = request(("X-Forwarded-Client-Cert", f"{client},{edge}"))
    assert "several elements" in refused(reader("xfcc"), both)
    listed = reader("xfcc spiffe://acme/edge")
    certificate = listed.find(both)
    assert certificate is not None
    assert certificate.uris == ("spiffe://acme/web",)
    lines = request(("X-Forwarded-Client-Cert", client), ("X-Forwarded-Client-Cert", edge))
    assert listed.find(lines) == certificate
    forged = request(("X-Forwarded-Client-Cert", f"Hash={LEAF.fingerprint};URI=x,{client},{edge}"))
    assert "several elements" in refused(listed, forged)


RECORDS = {number: ConsumerRecord(number, f"c{number}", number < 9, 0.0) for number in range(1, 10)}


def table(**identities: int) -> ConsumerTable:
    found = IdentityTable()
    for row, (subject, number) in enumerate(identities.items()):
        scopes = ("crm",) if subject.startswith("dns:") else None
        found.put(row, IdentityRecord(number, "certificate", subject, scopes=scopes))
    return ConsumerTable(ConsumerData(consumers=RECORDS, identities=found))


def described() -> ClientCertificate:
    found = reader("pem X-Cert").find(request(("X-Cert", LEAF.escaped)))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        pytest.param(f"sha256:{LEAF.fingerprint}", f"sha256:{LEAF.fingerprint}", id="sha256"),
        ("uri:spiffe://acme/ns/shop/web", "uri:spiffe://acme/ns/shop/web"),
        ("dns:web.acme.test", "dns:web.acme.test"),
        ("subject:CN=web,O=Acme", "subject:CN=web,O=Acme"),
        ("uri:spiffe://acme/ns/shop/*", "uri:spiffe://acme/ns/shop/web"),
        ("uri:spiffe://acme/*", "uri:spiffe://acme/ns/shop/web"),
        ("*", "uri:spiffe://acme/ns/shop/web"),
    ],
)
def test_a_consumer_names_a_certificate(subject: str, name: str) -> None:
    consumers = table(**{subject: 1})
    caller = CertificateCallers().caller(described(), consumers)
    assert caller.id == f"certificate+c1:{name}"
    assert caller.names == (caller.id,)
    assert caller.kind == "certificate"
    assert caller.expires == described().ends
    assert caller.scopes == (frozenset({"crm"}) if subject.startswith("dns:") else None)
    assert caller.subscription is not None
    assert caller.subscription.consumer == "c1"


@pytest.mark.parametrize(
    "subject", ["uri:spiffe://acme/ns/sho/*", "uri:spiffe://acm/*", "dns:acme.test", "uri:spiffe://acme/ns/shop/web/*"]
)
def test_no_other_certificate_is_a_consumers(subject: str) -> None:
    with pytest.raises(InvalidCertificate, match="not that of a consumer"):
        CertificateCallers().caller(described(), table(**{subject: 1}))


@pytest.mark.parametrize("path", ["shop/../admin", "shop/./web", "shop/%2E%2e/admin", "shop/.%2e"])
def test_a_uri_with_relative_segments_is_below_no_other(path: str) -> None:
    certificate = msgspec.structs.replace(described(), uris=(f"spiffe://acme/ns/{path}",), dns=())
    for pattern in ("uri:spiffe://acme/ns/shop/*", "uri:spiffe://acme/*"):
        with pytest.raises(InvalidCertificate, match="not that of a consumer"):
            CertificateCallers().caller(certificate, table(**{pattern: 1}))
    named = CertificateCallers().caller(certificate, table(**{f"uri:spiffe://acme/ns/{path}": 1}))
    assert named.id.endswith(path)


@pytest.mark.parametrize(
    ("parts", "openssl", "others"),
    [
        (
            [("C", "DE"), ("O", "Acme, Inc"), ("emailAddress", "a@b.test")],
            r"emailAddress=a@b.test,O=Acme\, Inc,C=DE",
            [r"1.2.840.113549.1.9.1=a@b.test,O=Acme\, Inc,C=DE"],
        ),
        (
            [("O", "B\u00e4cker"), ("CN", "Gr\u00f6\u00dfe")],
            r"CN=Gr\C3\B6\C3\9Fe,O=B\C3\A4cker",
            ["CN=Gr\u00f6\u00dfe,O=B\u00e4cker"],
        ),
        (
            [("serialNumber", "7"), ("GN", "Ada"), ("street", "x")],
            "street=x,GN=Ada,serialNumber=7",
            ["STREET=x,2.5.4.42=Ada,2.5.4.5=7"],
        ),
        ([("CN", "#x"), ("O", " y "), ("title", 'q"t\\')], r"title=q\"t\\,O=\ y\ ,CN=\#x", []),
        ([("CN", "a=b;c<d>e+f")], r"CN=a=b\;c\<d\>e\+f", []),
    ],
)
def test_a_subject_is_found_as_openssl_prints_it(parts: list[tuple[str, str]], openssl: str, others: list[str]) -> None:
    """The expected texts are those of `openssl x509 -noout -subject -nameopt RFC2253`."""
    issued = certificates.client(CA, subject=parts)
    certificate = reader("pem X-Cert", roots=CA.pem).find(request(("X-Cert", issued.escaped)))
    assert certificate is not None
    for subject in (openssl, *others):
        assert f"subject:{subject}" in identity_values(certificate)


def test_the_attributes_of_one_component_are_in_either_order() -> None:
    name = x509.Name([x509.RelativeDistinguishedName([attribute("CN", "a"), attribute("OU", "b")])])
    assert spellings(name) == ("CN=a+OU=b", "OU=b+CN=a")


def test_the_most_specific_identity_counts_and_a_disabled_consumer_has_no_access() -> None:
    consumers = table(**{"*": 3, "uri:spiffe://acme/*": 2, "uri:spiffe://acme/ns/shop/*": 1})
    assert CertificateCallers().caller(described(), consumers).id.startswith("certificate+c1:")
    with pytest.raises(InvalidCertificate, match="disabled"):
        CertificateCallers().caller(described(), table(**{"*": 1, "dns:web.acme.test": 9}))


def test_the_caller_is_the_same_object_until_the_consumers_change() -> None:
    callers, consumers = CertificateCallers(), table(**{"*": 1})
    callers.caller(described(), consumers)
    found = callers.caller(described(), consumers)
    assert callers.caller(described(), consumers) is found
    assert callers.caller(described(), table(**{"*": 2})).id.startswith("certificate+c2:")


def test_a_certificate_without_names_is_known_by_its_fingerprint() -> None:
    bare = ClientCertificate(fingerprint="0" * 64)
    assert list(identity_values(bare)) == [f"sha256:{'0' * 64}", "*"]
    assert CertificateCallers().caller(bare, table(**{"*": 1})).id == f"certificate+c1:sha256:{'0' * 64}"
