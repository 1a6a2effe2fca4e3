"""Lists of revoked certificates (RFC 5280 section 5). No I/O."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import (
    Certificate,
    CertificateRevocationList,
    ExtensionType,
    IssuingDistributionPoint,
    load_der_x509_crl,
    load_pem_x509_crl,
)

from routing.authentication.certificates.certificate import MALFORMED, ClientCertificate, public_key

_PEM: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
MAX_KEYS: Final = 64
"""The most keys of authorities for which a list remembers whether they have signed it."""


class RevocationList:
    """One list. It is asked for each certificate, and each second for each open connection: it is not searched then,
    nor is its signature verified again. `ends` is None if it does not.
    """

    def __init__(self, content: CertificateRevocationList) -> None:
        self.ends = content.next_update_utc
        self._content = content
        self._serials = frozenset(entry.serial_number for entry in content)
        self._signed_by: dict[bytes, bool] = {}

    def contains(self, serial: int) -> bool:
        return serial in self._serials

    def is_signed_by(self, key: bytes) -> bool:
        """`key` is a public key in DER."""
        found = self._signed_by.get(key)
        if found is None:
            loaded: Any = load_der_public_key(key)
            found = self._content.is_signature_valid(loaded)
            if len(self._signed_by) >= MAX_KEYS:
                self._signed_by.clear()
            self._signed_by[key] = found
        return found


class RevocationLists:
    """The lists of one file, by the name of the authority that has issued them. Immutable."""

    def __init__(self, content: bytes) -> None:
        """`content` has lists in PEM, or one in DER. Raises one of MALFORMED, also for lists that say only a
        part.
        """
        blocks = _PEM.findall(content)
        found = [load_pem_x509_crl(block) for block in blocks] if blocks else [load_der_x509_crl(content)]
        self._lists: dict[bytes, list[RevocationList]] = {}
        for each in found:
            _check(each)
            self._lists.setdefault(each.issuer.public_bytes(), []).append(RevocationList(each))

    @property
    def ends(self) -> datetime | None:
        """When the first of the lists expires."""
        found = [each.ends for lists in self._lists.values() for each in lists if each.ends]
        return min(found, default=None)

    def refusal(self, path: Sequence[Certificate], now: float) -> str:
        """Why a certificate is refused, empty if it is not. `path` leads from it to its root, which is in no list.

        As with OpenSSL's CRL_CHECK_ALL, a certificate is refused if its authority has no current list.
        """
        return next(filter(None, map(self._refusal, path[:-1], path[1:], [now] * (len(path) - 1))), "")

    def names(self, certificate: ClientCertificate) -> bool:
        """Whether a certificate that was accepted before is in a list of its issuer, told from others of its name."""
        key = certificate.issuer_key
        return any(
            each.contains(certificate.serial) and (not key or each.is_signed_by(key))
            for each in self._lists.get(certificate.issuer, ())
        )

    def _refusal(self, certificate: Certificate, issuer: Certificate, now: float) -> str:
        key = public_key(issuer)
        lists = [each for each in self._lists.get(certificate.issuer.public_bytes(), ()) if each.is_signed_by(key)]
        if not lists:
            return "there is no revocation list of the client certificate's authority"
        if any(each.contains(certificate.serial_number) for each in lists):
            return "the client certificate was revoked"
        moment = datetime.fromtimestamp(now, UTC)
        if not any(each.ends is None or each.ends > moment for each in lists):
            return "the revocation list of the client certificate's authority has expired"
        return ""


def _check(each: CertificateRevocationList) -> None:
    """Lists of changes alone (deltas), of some reasons or of others' certificates have critical extensions."""
    for extension in each.extensions:
        if extension.critical and not _is_whole(extension.value):
            raise ValueError(f"a list with the critical extension {extension.oid.dotted_string} is not supported")


def _is_whole(scope: ExtensionType) -> bool:
    """Whether an extension says no more than where the list is from, and that it is of certificates like clients'."""
    return isinstance(scope, IssuingDistributionPoint) and not (
        scope.indirect_crl
        or scope.only_some_reasons
        or scope.only_contains_attribute_certs
        or scope.only_contains_ca_certs
    )


class CertificateRevocations:
    """The lists of this process. `version` changes with them."""

    def __init__(self) -> None:
        self._lists: RevocationLists | None = None
        self.version = 0

    def use(self, content: bytes) -> None:
        """Use these lists from now on. Raises ValueError, and changes nothing then."""
        try:
            self._lists = RevocationLists(content)
        except MALFORMED as error:
            raise ValueError(f"no list of revoked certificates in PEM or DER: {error}") from None
        self.version += 1

    def refusal(self, path: Sequence[Certificate], now: float) -> str:
        return "" if self._lists is None else self._lists.refusal(path, now)

    def names(self, certificate: ClientCertificate) -> bool:
        return self._lists is not None and self._lists.names(certificate)
