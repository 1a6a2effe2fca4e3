"""CLIENT_CERTIFICATES and CLIENT_CA: how trusted proxies forward client certificates, and who may have issued them."""

from collections.abc import Collection, Iterator, Mapping

import msgspec

from gateway_project.environment.values import Get, authorities
from routing.authentication.certificates.source import CertificateSource, parse_source


def read(get: Get) -> CertificateSource | None:
    source: CertificateSource | None = get("CLIENT_CERTIFICATES", None, parse_source)
    roots: bytes = get("CLIENT_CA", b"", authorities)
    return source and msgspec.structs.replace(source, roots=roots)


def contradictions(
    source: CertificateSource | None, environment: Mapping[str, str], proxies: Collection[object]
) -> Iterator[str]:
    if source is not None and not proxies:
        yield "CLIENT_CERTIFICATES: requires TRUSTED_PROXIES, which alone may forward certificates"
    if environment.get("CLIENT_CA") and not environment.get("CLIENT_CERTIFICATES"):
        yield "CLIENT_CA: requires CLIENT_CERTIFICATES"
