"""Which consumer a client's certificate belongs to, and the caller that it makes."""

from collections.abc import Iterator
from typing import Final

from resilience.memo import TwoGenerationMemo
from routing.authentication.certificates.certificate import ClientCertificate
from routing.authentication.certificates.errors import InvalidCertificate
from routing.caller import Caller
from routing.consumers.policy import ANY_CERTIFICATE, CERTIFICATE, UserBinding
from routing.consumers.table import ConsumerTable

KIND: Final = "certificate"
"""Begins the id of a caller with a client certificate."""
REMEMBERED: Final = 4_096
_RELATIVE: Final = frozenset({".", ".."})


class CertificateCallers:
    """The callers of certificates; the same object for the same certificate each time."""

    def __init__(self) -> None:
        self._consumers = ConsumerTable()
        self._known: TwoGenerationMemo[ClientCertificate, Caller] = TwoGenerationMemo(REMEMBERED)

    def caller(self, certificate: ClientCertificate, consumers: ConsumerTable) -> Caller:
        """The certificate's caller. Raises InvalidCertificate if it is no consumer's, or a disabled one's."""
        if consumers is not self._consumers:
            self._consumers = consumers
            self._known.clear()
        caller = self._known.get(certificate)
        if caller is None:
            caller = _caller(certificate, consumers)
            self._known.put(certificate, caller)
        return caller


def _caller(certificate: ClientCertificate, consumers: ConsumerTable) -> Caller:
    for value in identity_values(certificate):
        identity = UserBinding(issuer=CERTIFICATE, subject=value)
        record = consumers.by_identity((identity,))
        if record is None:
            continue
        if not record.enabled:
            raise InvalidCertificate("the client certificate's consumer is disabled")
        name = _name(certificate) if value.endswith(ANY_CERTIFICATE) else value
        return Caller(
            f"{KIND}+{record.name}:{name}",
            scopes=consumers.scopes_of(identity),
            expires=certificate.ends,
            subscription=consumers.subscribed(record),
        )
    raise InvalidCertificate("the client certificate is not that of a consumer")


def identity_values(certificate: ClientCertificate) -> Iterator[str]:
    """What a consumer may name this certificate by, the most specific first."""
    yield f"sha256:{certificate.fingerprint}"
    yield from _names(certificate)
    for uri in certificate.uris:
        yield from _prefixes(uri)
    yield ANY_CERTIFICATE


def _names(certificate: ClientCertificate) -> Iterator[str]:
    for uri in certificate.uris:
        yield f"uri:{uri}"
    for name in certificate.dns:
        yield f"dns:{name}"
    if certificate.subject:
        yield f"subject:{certificate.subject}"
    for spelling in certificate.spellings:
        yield f"subject:{spelling}"


def _name(certificate: ClientCertificate) -> str:
    """The name that distinguishes it from its consumer's other certificates, and stays the same when it is renewed."""
    return next(_names(certificate), f"sha256:{certificate.fingerprint}")


def _prefixes(uri: str) -> Iterator[str]:
    """`uri:spiffe://example.org/ns/*` and the like, the longest first; none for a URI with relative segments, which is
    not below what it begins with.
    """
    scheme, _, rest = uri.partition("://")
    parts = rest.split("/")
    if not _RELATIVE.isdisjoint(part.lower().replace("%2e", ".") for part in parts):
        return
    for end in range(len(parts) - 1, 0, -1):
        yield f"uri:{scheme}://{'/'.join(parts[:end])}/*"
