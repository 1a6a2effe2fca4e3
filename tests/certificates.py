"""Certificates for tests: authorities, and clients' certificates that they issue."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW: Final = datetime.fromtimestamp(1_700_000_000, UTC)
DAY: Final = timedelta(days=1)


_KINDS: Final = {
    "C": NameOID.COUNTRY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "GN": NameOID.GIVEN_NAME,
    "street": NameOID.STREET_ADDRESS,
    "title": NameOID.TITLE,
}


class Issued:
    """A certificate and its private key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate, self.key = certificate, key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def escaped(self) -> str:
        """As nginx's $ssl_client_escaped_cert and Envoy write it."""
        return quote(self.pem, safe="")

    @property
    def fingerprint(self) -> str:
        return sha256(self.der).hexdigest()

    @property
    def base64(self) -> str:
        return b64encode(self.der).decode()


def authority(name: str = "Test CA", issuer: Issued | None = None, **more: Any) -> Issued:
    return _issue(name, issuer, extensions=[x509.BasicConstraints(True, None)], **more)


def client(
    issuer: Issued,
    name: str = "client",
    *,
    uris: Sequence[str] = (),
    dns: Sequence[str] = (),
    addresses: Sequence[str] = (),
    purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
    **more: Any,
) -> Issued:
    ips = (x509.IPAddress(ip_address(address)) for address in addresses)
    names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, dns), *ips]
    extensions: list[x509.ExtensionType] = [x509.SubjectAlternativeName(names)] if names else []
    if purposes:
        extensions.append(x509.ExtendedKeyUsage(purposes))
    return _issue(name, issuer, extensions=extensions, **more)


def of_version(issuer: Issued, version: int) -> bytes:
    """A client's certificate in DER that says to be of a version above 3. Its signature is then not right."""
    der = client(issuer).der
    at = der.index(b"\xa0\x03\x02\x01\x02")
    return der[: at + 4] + bytes([version - 1]) + der[at + 5 :]


def with_extension(issuer: Issued, oid: str, content: bytes, *, twice: bool = False) -> bytes:
    """A client's certificate in DER with an extension that is malformed or repeated, as a builder makes none."""
    own, other = x509.ObjectIdentifier(oid), x509.ObjectIdentifier(oid.rpartition(".")[0] + ".99")
    extensions: list[x509.ExtensionType] = [x509.UnrecognizedExtension(other, content)]
    if twice:
        extensions.append(x509.UnrecognizedExtension(own, content))
    der = _issue("client", issuer, extensions=extensions).der
    return der.replace(_encoded(other), _encoded(own))


def _encoded(oid: x509.ObjectIdentifier) -> bytes:
    """Of the arc 2.5.29, whose members are below 128."""
    return bytes([0x06, 0x03, 0x55, 0x1D, int(oid.dotted_string.rpartition(".")[2])])


def revocations(
    issuer: Issued,
    *revoked: Issued,
    ends: datetime = NOW + 7 * DAY,
    signer: Issued | None = None,
    critical: x509.ExtensionType | None = None,
) -> bytes:
    """The list of an authority, in PEM. `signer` has another key."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject).last_update(NOW - DAY)
    builder = builder.next_update(ends)
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number).revocation_date(NOW)
        builder = builder.add_revoked_certificate(entry.build())
    if critical is not None:
        builder = builder.add_extension(critical, critical=True)
    return builder.sign((signer or issuer).key, SHA256()).public_bytes(Encoding.PEM)


def attribute(kind: str, value: str) -> "x509.NameAttribute[str]":
    return x509.NameAttribute(_KINDS[kind], value)


def _issue(
    name: str,
    issuer: Issued | None,
    *,
    extensions: Sequence[x509.ExtensionType],
    begins: datetime = NOW - DAY,
    ends: datetime = NOW + 30 * DAY,
    units: Sequence[str] = (),
    serial: int | None = None,
    subject: Sequence[tuple[str, str]] = (),
    key: Any = None,
) -> Issued:
    key = key or ec.generate_private_key(ec.SECP256R1())
    parts = subject or [("O", "Acme"), *(("OU", unit) for unit in units), ("CN", name)]
    named = x509.Name([attribute(*part) for part in parts])
    builder = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(issuer.certificate.subject if issuer else named)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return Issued(builder.sign(issuer.key if issuer else key, SHA256()), key)
