"""Where a client's certificate is found in a request: the setting CLIENT_CERTIFICATES."""

import re
from enum import StrEnum
from typing import Final

import msgspec

_FIELD: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_PROXY: Final = re.compile(r"[!-~]{1,255}")
XFCC: Final = "x-forwarded-client-cert"
CLIENT_CERT: Final = "client-cert"
CLIENT_CERT_CHAIN: Final = "client-cert-chain"
_TAKEN: Final = frozenset(
    {
        "host",
        "authorization",
        "x-api-key",
        "cookie",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
    }
)


class SourceKind(StrEnum):
    XFCC = "xfcc"
    """Envoy's X-Forwarded-Client-Cert."""
    CLIENT_CERT = "client-cert"
    """Client-Cert and Client-Cert-Chain (RFC 9440)."""
    PEM = "pem"
    """A field of one's choice, as nginx, Traefik and AWS write it."""


class CertificateSource(msgspec.Struct, frozen=True):
    """`field` has the certificate, and `verified`, if it is set, the proxy's verdict, which must be SUCCESS or 0.
    `proxies` are the URIs of proxies that may precede the gateway's own proxy, for XFCC. `roots` are the certificates
    in PEM that clients' certificates must be issued by; without them, the proxy's verification is relied on.
    """

    kind: SourceKind
    field: str
    verified: str | None = None
    proxies: tuple[str, ...] = ()
    roots: bytes = b""

    @property
    def fields(self) -> frozenset[bytes]:
        """The fields that only proxies may set."""
        names = {self.field, self.verified, CLIENT_CERT_CHAIN if self.kind is SourceKind.CLIENT_CERT else None}
        return frozenset(name.encode() for name in names if name is not None)


def parse_source(text: str) -> CertificateSource:
    """`xfcc [URI ...]`, `client-cert`, or `pem FIELD [FIELD]`. Raises ValueError."""
    kind, *words = text.split()
    match kind.lower():
        case SourceKind.XFCC:
            if not all(map(_PROXY.fullmatch, words)):
                raise ValueError("xfcc is followed by the URIs of trusted proxies, if by anything")
            return CertificateSource(SourceKind.XFCC, XFCC, proxies=tuple(words))
        case SourceKind.CLIENT_CERT if not words:
            return CertificateSource(SourceKind.CLIENT_CERT, CLIENT_CERT)
        case SourceKind.PEM:
            return _pem([word.lower() for word in words])
    raise ValueError("must be xfcc, client-cert, or pem with the name of a field")


def _pem(names: list[str]) -> CertificateSource:
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise ValueError("pem is followed by the field of the certificate, and by that of its verification")
    for name in names:
        if _FIELD.fullmatch(name) is None or name in _TAKEN:
            raise ValueError(f"{name!r} cannot be the field of a certificate")
    return CertificateSource(SourceKind.PEM, names[0], names[1] if len(names) > 1 else None)
