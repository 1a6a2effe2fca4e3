"""A client's certificate, as far as its names and dates matter here."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import (
    Certificate,
    DNSName,
    DuplicateExtension,
    ExtensionNotFound,
    InvalidVersion,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    UnsupportedGeneralNameType,
    load_der_x509_certificate,
)

from routing.authentication.certificates.distinguished_name import spellings

MAX_NAMES: Final = 64
MAX_NAME_LENGTH: Final = 255
MAX_DER: Final = 32_768
MALFORMED: Final = (
    ValueError,
    InvalidVersion,
    DuplicateExtension,
    UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
"""What cryptography raises for a certificate or a list that it cannot read, at once or when a part is read."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """`fingerprint` is the SHA-256 of the certificate's DER form, in hexadecimal. `subject` is as RFC 4514 writes it,
    and `spellings` are those of others. `begins` and `ends` are Unix time; None where a proxy has sent the names
    alone. `issuer` is the authority's name in DER, and `serial` the number that it has given the certificate.
    `issuer_key` is its public key in DER where the gateway has verified the certificate: authorities that are
    replaced often keep their name.
    """

    fingerprint: str
    subject: str = ""
    spellings: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    begins: float | None = None
    ends: float | None = None
    issuer: bytes = b""
    serial: int = 0
    issuer_key: bytes = b""

    @property
    def thumbprint(self) -> str:
        """As access tokens that are bound to a certificate contain it (RFC 8705 section 3.1)."""
        return urlsafe_b64encode(bytes.fromhex(self.fingerprint)).decode().rstrip("=")


def named_certificate(fingerprint: str, subject: str, uris: tuple[str, ...], dns: tuple[str, ...]) -> ClientCertificate:
    """A certificate of which only these values are known. Raises ValueError.

    Names that are too long for an identity, or not printable, are left out: nobody can be told by them.
    """
    if _SHA256.fullmatch(fingerprint) is None:
        raise ValueError("the hash is not that of a certificate")
    if len(uris) + len(dns) > MAX_NAMES:
        raise ValueError(f"it has more than {MAX_NAMES} names")
    return ClientCertificate(
        fingerprint=fingerprint,
        subject=subject if _can_be_named(subject) else "",
        uris=tuple(filter(_can_be_named, uris)),
        dns=tuple(name.lower() for name in dns if _can_be_named(name)),
    )


def _can_be_named(name: str) -> bool:
    return len(name) <= MAX_NAME_LENGTH and name.isprintable()


def load_der(der: bytes) -> Certificate:
    """Raises one of MALFORMED."""
    if len(der) > MAX_DER:
        raise ValueError("the certificate is too long")
    return load_der_x509_certificate(der)


def describe(certificate: Certificate, der: bytes) -> ClientCertificate:
    """Raises one of MALFORMED for names that cannot be read."""
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
        uris = tuple(names.get_values_for_type(UniformResourceIdentifier))
        dns = tuple(names.get_values_for_type(DNSName))
    except ExtensionNotFound:
        uris = dns = ()
    subject, *others = spellings(certificate.subject)
    named = named_certificate(sha256(der).hexdigest(), subject, uris, dns)
    return msgspec.structs.replace(
        named,
        spellings=tuple(filter(_can_be_named, others)),
        begins=certificate.not_valid_before_utc.timestamp(),
        ends=certificate.not_valid_after_utc.timestamp(),
        issuer=certificate.issuer.public_bytes(),
        serial=certificate.serial_number,
    )


def issued_by(certificate: ClientCertificate, authorities: Sequence[Certificate]) -> ClientCertificate:
    """The certificate with the key of the first of these, if there is one: a root may be a client itself."""
    if not authorities:
        return certificate
    return msgspec.structs.replace(certificate, issuer_key=public_key(authorities[0]))


def public_key(certificate: Certificate) -> bytes:
    """In DER."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
