"""The client's certificate of a request: where it is found, and whether it is acceptable."""

from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.x509 import Certificate

from resilience.memo import TwoGenerationMemo
from routing.authentication.certificates.certificate import (
    MALFORMED,
    ClientCertificate,
    describe,
    issued_by,
    load_der,
    named_certificate,
)
from routing.authentication.certificates.errors import InvalidCertificate
from routing.authentication.certificates.pem import parse_client_cert, parse_pem
from routing.authentication.certificates.revocation import CertificateRevocations
from routing.authentication.certificates.source import CLIENT_CERT_CHAIN, CertificateSource, SourceKind
from routing.authentication.certificates.trust import Trust, fault, trust_in
from routing.authentication.certificates.xfcc import Element, parse_xfcc
from routing.http import Headers, Request, joined

REMEMBERED: Final = 1_024
"""The most certificates, by the text of their fields, in each of the memo's two generations."""
RECHECK_SECONDS: Final = 300.0
_VERIFIED: Final = (b"SUCCESS", b"0")
"""What nginx and HAProxy send for a certificate that they have verified."""


class _Read(NamedTuple):
    """A certificate that was read, or why it is not accepted. Read again after `until`, in Unix time: the certificates
    of authorities end too.
    """

    certificate: ClientCertificate | None
    error: str = ""
    until: float = 0.0


class ClientCertificates:
    """Finds and checks certificates. `source` None: only those that a listener hands in. `clock` is Unix time.

    `Request.peer_certificates` is that of the connection's other end: of the client, unless that is a trusted proxy.
    """

    def __init__(
        self,
        source: CertificateSource | None,
        clock: Callable[[], float],
        revocations: CertificateRevocations | None = None,
    ) -> None:
        self._source = source
        own = source.fields if source is not None else frozenset[bytes]()
        self._fields = frozenset(name.replace(b"_", b"-") for name in own)
        self._clock = clock
        self._trust: Trust | None = trust_in(source.roots) if source is not None and source.roots else None
        self._revocations = revocations or CertificateRevocations()
        self._version = self._revocations.version
        self._known: Final[TwoGenerationMemo[tuple[bytes, ...], _Read]] = TwoGenerationMemo(REMEMBERED)

    @property
    def fields(self) -> frozenset[bytes]:
        """The fields in which proxies forward certificates, with hyphens; none if none do."""
        return self._fields

    def find(self, request: Request) -> ClientCertificate | None:
        """The client's certificate, None without one. Raises InvalidCertificate if it is not acceptable now."""
        key = self._presented(request)
        if key is None:
            return None
        if self._version != self._revocations.version:
            self._version = self._revocations.version
            self._known.clear()
        now, read = self._clock(), self._known.get(key)
        if read is None or read.until <= now:
            read = self._read(request, key)._replace(until=now + RECHECK_SECONDS)
            self._known.put(key, read)
        certificate = read.certificate
        if certificate is None:
            raise InvalidCertificate(read.error)
        if certificate.begins is not None and now < certificate.begins:
            raise InvalidCertificate("the client certificate is not valid yet")
        if certificate.ends is not None and now >= certificate.ends:
            raise InvalidCertificate("the client certificate has expired")
        return certificate

    def _presented(self, request: Request) -> tuple[bytes, ...] | None:
        """The source of the certificate: the fields of a trusted proxy, or what the listener has received."""
        source = self._source
        if not request.via_proxy:
            return request.peer_certificates or None
        if source is None:
            return None
        value = _field(request.headers, source)
        if not value or value == b"(null)":  # which Apache sends without a certificate
            return None
        if source.verified is not None and joined(request.headers, source.verified.encode()) not in _VERIFIED:
            raise InvalidCertificate("the proxy has not verified the client certificate")
        if source.kind is not SourceKind.CLIENT_CERT:
            return b"", value
        return b"", value, joined(request.headers, CLIENT_CERT_CHAIN.encode()) or b""

    def _read(self, request: Request, key: tuple[bytes, ...]) -> _Read:
        try:
            return self._from_field(key) if request.via_proxy else self._chain(key)
        except MALFORMED as error:
            return _Read(None, f"the client certificate cannot be read: {error}"[:200])

    def _from_field(self, key: tuple[bytes, ...]) -> _Read:
        source = self._source
        assert source is not None  # noqa: S101 - there is no field without one
        match source.kind:
            case SourceKind.XFCC:
                return self._element(_client_element(parse_xfcc(key[1]), source.proxies))
            case SourceKind.CLIENT_CERT:
                return self._chain(parse_client_cert(key[1], key[2]))
        return self._chain(parse_pem(key[1]))

    def _element(self, element: Element) -> _Read:
        """A certificate that is sent counts, and not what a proxy says of it: Envoy quotes neither URIs nor names."""
        fingerprint = _only(element, b"hash").lower()
        if b"cert" in element or b"chain" in element:
            chain = [*parse_pem(element[b"cert"][0])] if b"cert" in element else []
            chain += [
                der for der in (parse_pem(element[b"chain"][0]) if b"chain" in element else ()) if der not in chain
            ]
            if fingerprint and sha256(chain[0]).hexdigest() != fingerprint:
                raise ValueError("the hash is that of another certificate")
            return self._chain(tuple(chain))
        if self._trust is not None:
            return _Read(None, "the proxy has not sent the client certificate, which the gateway is to verify")
        uris, dns = _texts(element, b"uri"), _texts(element, b"dns")
        if len(uris) > 1:
            raise ValueError("several URIs, which are unambiguous only if the proxy sends the certificate (Cert)")
        return _Read(named_certificate(fingerprint, _only(element, b"subject"), uris, dns))

    def _chain(self, chain: tuple[bytes, ...]) -> _Read:
        certificates = [load_der(der) for der in chain]
        described = describe(certificates[0], chain[0])
        return _Read(described) if self._trust is None else self._verified(self._trust, certificates, described)

    def _verified(self, trust: Trust, chain: list[Certificate], described: ClientCertificate) -> _Read:
        """As of now, or of a time at which the certificate itself is valid: its own dates are checked at each use."""
        now = self._clock()
        begins, ends = described.begins or now, described.ends or now
        path = trust(chain, min(max(now, begins), ends))
        if not path:
            untrusted = "the client certificate was not issued by an authority that is trusted here"
            return _Read(None, fault(chain[0]) or untrusted)
        refusal = self._revocations.refusal(path, now)
        return _Read(None, refusal) if refusal else _Read(issued_by(described, path[1:]))


def _field(headers: Headers, source: CertificateSource) -> bytes | None:
    """The field with the certificate. Raises InvalidCertificate if it is repeated: which one is the client's own, and
    which the proxy's, could not be told.
    """
    name = source.field.encode()
    if source.kind is SourceKind.PEM and sum(key == name for key, _ in headers) > 1:
        raise InvalidCertificate(f"more than one field {source.field}: the proxy must replace what clients send")
    return joined(headers, name)


def _client_element(elements: list[Element], proxies: tuple[str, ...]) -> Element:
    """The client's element. All that follow must be those of listed proxies, and none may precede it.

    Otherwise it would be ambiguous which certificate is the client's: a name with a comma reads as another element.
    """
    for element in elements[1:]:
        if not set(_texts(element, b"uri")).intersection(proxies):
            raise ValueError("several elements, whose proxies CLIENT_CERTIFICATES does not name")
    if not elements:
        raise ValueError("no element")
    return elements[0]


def _only(element: Element, key: bytes) -> str:
    return element.get(key, (b"",))[0].decode()


def _texts(element: Element, key: bytes) -> tuple[str, ...]:
    return tuple(value.decode() for value in element.get(key, ()) if value)
