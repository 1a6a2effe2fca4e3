"""Whether a client's certificate was issued by a configured authority (RFC 5280 section 6)."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import (
    BasicConstraints,
    Certificate,
    ExtendedKeyUsage,
    ExtensionNotFound,
    KeyUsage,
    Version,
    load_pem_x509_certificates,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

Trust = Callable[[Sequence[Certificate], float], Sequence[Certificate]]
"""The path from a client's certificate to a root that is trusted at a Unix time, empty if there is none. It is given
what the client has sent, its own certificate first.
"""
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_PURPOSES: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
_WEAK: Final = frozenset({"md5", "sha1"})
_MIN_RSA_BITS: Final = 2_048


def trust_in(roots: bytes) -> Trust:
    """`roots` are certificates in PEM. Raises ValueError if there are none, or none that can be verified with.

    Clients' certificates need no alternative name: many private authorities issue them with a subject only.
    """
    loaded = load_pem_x509_certificates(roots)
    if not any(map(_can_verify, loaded)):
        raise ValueError("no authority has an RSA key or one on P-256, P-384 or P-521, and a certificate of version 3")
    builder = _permissive(PolicyBuilder().store(Store(loaded)))

    def trusts(chain: Sequence[Certificate], now: float) -> Sequence[Certificate]:
        verifier = builder.time(datetime.fromtimestamp(now, UTC).replace(tzinfo=None)).build_client_verifier()
        if _is_short(chain[0]):  # cryptography looks at the keys of authorities alone
            return ()
        try:
            return verifier.verify(chain[0], list(chain[1:])).chain
        except VerificationError:
            return ()

    return trusts


def fault(certificate: Certificate) -> str:
    """What a client's certificate lacks, independent of its issuer; empty if nothing. Raises one of MALFORMED."""
    if certificate.version is not Version.v3:
        return "the client certificate is of version 1: issue one of version 3 (openssl x509 -req with -extfile)"
    try:
        purposes = certificate.extensions.get_extension_for_class(ExtendedKeyUsage).value
    except ExtensionNotFound:
        purposes = None
    if purposes is not None and _PURPOSES.isdisjoint(purposes):
        return "the client certificate is not for the authentication of clients (extended key usage)"
    if _is_short(certificate):
        return f"the client certificate has an RSA key of less than {_MIN_RSA_BITS} bits"
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and algorithm.name in _WEAK:
        return f"the client certificate is signed with {algorithm.name}, which is not accepted"
    return ""


def _is_short(certificate: Certificate) -> bool:
    """Whether its key is an RSA key that is too short. Raises one of MALFORMED."""
    key = certificate.public_key()
    return isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS


def _can_verify(root: Certificate) -> bool:
    """Whether cryptography verifies what an authority has signed."""
    try:
        key = root.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    if isinstance(key, ec.EllipticCurvePublicKey):
        return root.version is Version.v3 and isinstance(key.curve, _CURVES)
    return root.version is Version.v3 and isinstance(key, rsa.RSAPublicKey)


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
        if purposes is not None and _PURPOSES.isdisjoint(purposes):
            raise ValueError("not for the authentication of clients")

    authorities = (
        ExtensionPolicy.permit_all()
        .require_present(BasicConstraints, Criticality.AGNOSTIC, check_authority)
        .may_be_present(KeyUsage, Criticality.AGNOSTIC, check_signs)
    )
    clients = ExtensionPolicy.permit_all().may_be_present(ExtendedKeyUsage, Criticality.AGNOSTIC, check_purposes)
    return builder.extension_policies(ca_policy=authorities, ee_policy=clients)
