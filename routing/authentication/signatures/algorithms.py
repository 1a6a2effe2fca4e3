"""The algorithms of RFC 9421 section 3.3, and the keys that they are for."""

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import load_pem_public_key

Verifier = Callable[[bytes, bytes], bool]
"""Whether a signature, the first argument, is that of the signature base, the second."""

MIN_RSA_BITS: Final = 2_048
MAX_RSA_BITS: Final = 8_192
MIN_SECRET_BYTES: Final = 32
MAX_SECRET_BYTES: Final = 1_024
MAX_PEM: Final = 8_192
"""The most characters of a public key."""
BASE64: Final = "base64:"
"""Begins a secret that is given in base64, since it is not text."""
_P256_BYTES: Final = 32


class SignatureAlgorithm(StrEnum):
    ED25519 = "ed25519"
    ECDSA_P256_SHA256 = "ecdsa-p256-sha256"
    RSA_PSS_SHA512 = "rsa-pss-sha512"
    RSA_V1_5_SHA256 = "rsa-v1_5-sha256"
    HMAC_SHA256 = "hmac-sha256"

    @property
    def is_secret(self) -> bool:
        """Whether both sides have the same key."""
        return self is SignatureAlgorithm.HMAC_SHA256


def secret_bytes(text: str) -> bytes:
    """The bytes of a secret: those of its text, or what it has after `base64:`. Raises ValueError."""
    try:
        key = b64decode(text.removeprefix(BASE64), validate=True) if text.startswith(BASE64) else text.encode()
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("the secret is not base64") from None
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(f"a secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes")
    return key


def verifier(algorithm: SignatureAlgorithm, material: str) -> Verifier:
    """`material` is a public key in PEM, or a secret. Raises ValueError if it is not a key for the algorithm."""
    if algorithm.is_secret:
        return _hmac(secret_bytes(material))
    return _public(algorithm, material)


def _hmac(key: bytes) -> Verifier:
    return lambda signature, base: hmac.compare_digest(hmac.digest(key, base, "sha256"), signature)


def _public(algorithm: SignatureAlgorithm, pem: str) -> Verifier:
    if len(pem) > MAX_PEM:
        raise ValueError("the public key is too long")
    try:
        key = load_pem_public_key(pem.encode("ascii", "replace"))
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("must be a public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    verify = _VERIFIERS[algorithm](key)

    def verifies(signature: bytes, base: bytes) -> bool:
        try:
            verify(signature, base)
        except InvalidSignature:
            return False
        return True

    return verifies


def _ed25519(key: object) -> Callable[[bytes, bytes], None]:
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("ed25519 needs an Ed25519 key")
    return key.verify


def _ecdsa(key: object) -> Callable[[bytes, bytes], None]:
    """A signature is r and s, 32 bytes each (RFC 9421 section 3.3.4)."""
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("ecdsa-p256-sha256 needs an elliptic curve key on P-256")

    def verify(signature: bytes, base: bytes) -> None:
        if len(signature) != 2 * _P256_BYTES:
            raise InvalidSignature
        r, s = (int.from_bytes(part) for part in (signature[:_P256_BYTES], signature[_P256_BYTES:]))
        key.verify(encode_dss_signature(r, s), base, ec.ECDSA(SHA256()))

    return verify


def _rsa_pss(key: object) -> Callable[[bytes, bytes], None]:
    public = _rsa(key)
    form = padding.PSS(padding.MGF1(SHA512()), SHA512.digest_size)
    return lambda signature, base: public.verify(signature, base, form, SHA512())


def _rsa_v1_5(key: object) -> Callable[[bytes, bytes], None]:
    public = _rsa(key)
    return lambda signature, base: public.verify(signature, base, padding.PKCS1v15(), SHA256())


def _rsa(key: object) -> rsa.RSAPublicKey:
    if not isinstance(key, rsa.RSAPublicKey) or not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise ValueError(f"the algorithm needs an RSA key of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    return key


_VERIFIERS: Final[dict[SignatureAlgorithm, Callable[[object], Callable[[bytes, bytes], None]]]] = {
    SignatureAlgorithm.ED25519: _ed25519,
    SignatureAlgorithm.ECDSA_P256_SHA256: _ecdsa,
    SignatureAlgorithm.RSA_PSS_SHA512: _rsa_pss,
    SignatureAlgorithm.RSA_V1_5_SHA256: _rsa_v1_5,
}
