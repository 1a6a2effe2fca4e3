"""CLIENT_CERTIFICATES, CLIENT_CA and CLIENT_CRL: how trusted proxies forward client certificates, who may have issued
these, and which are revoked.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import msgspec

from gateway_project.environment.values import Get, authorities, file
from routing.authentication.certificates.revocation import CertificateRevocations
from routing.authentication.certificates.source import CertificateSource, parse_source


def read(get: Get) -> CertificateSource | None:
    source: CertificateSource | None = get("CLIENT_CERTIFICATES", None, parse_source)
    roots: bytes = get("CLIENT_CA", b"", authorities)
    return source and msgspec.structs.replace(source, roots=roots)


def read_revocations(get: Get) -> Path | None:
    found: Path | None = get("CLIENT_CRL", None, _revocations)
    return found


def _revocations(text: str) -> Path:
    """A file that a list of revoked certificates can be read from, also at each later time."""
    path = file(text).absolute()
    try:
        CertificateRevocations().use(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{text!r}: {error.strerror}") from None
    return path


def contradictions(
    source: CertificateSource | None, environment: Mapping[str, str], proxies: Collection[object]
) -> Iterator[str]:
    if source is not None and not proxies:
        yield "CLIENT_CERTIFICATES: requires TRUSTED_PROXIES, which alone may forward certificates"
    given = {name for name, value in environment.items() if value.strip()}
    if "CLIENT_CA" in given and "CLIENT_CERTIFICATES" not in given:
        yield "CLIENT_CA: requires CLIENT_CERTIFICATES"
    if "CLIENT_CRL" in given and "CLIENT_CA" not in given:
        yield "CLIENT_CRL: requires CLIENT_CA, whose certificates it is of"
