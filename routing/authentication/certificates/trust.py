"""Whether a client's certificate was issued by a configured authority (RFC 5280 section 6)."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.x509 import BasicConstraints, Certificate, ExtendedKeyUsage, KeyUsage, load_pem_x509_certificates
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

Trust = Callable[[Sequence[Certificate], float], Sequence[Certificate]]
"""The path from a client's certificate to a root that is trusted at a Unix time, empty if there is none. It is given
what the client has sent, its own certificate first.
"""


def trust_in(roots: bytes) -> Trust:
    """`roots` are certificates in PEM. Raises ValueError if they contain none.

    Clients' certificates need no alternative name: many private authorities issue them with a subject only.
    """
    builder = _permissive(PolicyBuilder().store(Store(load_pem_x509_certificates(roots))))

    def trusts(chain: Sequence[Certificate], now: float) -> Sequence[Certificate]:
        verifier = builder.time(datetime.fromtimestamp(now, UTC).replace(tzinfo=None)).build_client_verifier()
        try:
            return verifier.verify(chain[0], list(chain[1:])).chain
        except VerificationError:
            return ()

    return trusts


def _permissive(builder: PolicyBuilder) -> PolicyBuilder:
    """RFC 5280 rather than the rules for the web: an authority must be one, and may issue certificates; if a client's
    certificate names the purposes that it is for, the authentication of clients must be among them.
    """

    def check_authority(_policy: Any, _certificate: Any, constraints: BasicConstraints) -> None:
        if not constraints.ca:
            raise ValueError("not an authority")

    def check_signs(_policy: Any, _certificate: Any, usage: KeyUsage | None) -> None:
        if usage is not None and not usage.key_cert_sign:
            raise ValueError("may not issue certificates")

    def check_purposes(_policy: Any, _certificate: Any, purposes: ExtendedKeyUsage | None) -> None:
        accepted = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
        if purposes is not None and accepted.isdisjoint(purposes):
            raise ValueError("not for the authentication of clients")

    authorities = (
        ExtensionPolicy.permit_all()
        .require_present(BasicConstraints, Criticality.AGNOSTIC, check_authority)
        .may_be_present(KeyUsage, Criticality.AGNOSTIC, check_signs)
    )
    clients = ExtensionPolicy.permit_all().may_be_present(ExtendedKeyUsage, Criticality.AGNOSTIC, check_purposes)
    return builder.extension_policies(ca_policy=authorities, ee_policy=clients)
