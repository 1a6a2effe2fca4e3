"""JSON Web Key Sets (RFC 7517): which keys of one may verify a token, and the verification of a signature."""

from collections.abc import Mapping
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import Algorithm as _Verifier
from jwt.algorithms import get_default_algorithms

from routing.authentication.issuer_policy import Algorithm, algorithm_of
from routing.authentication.token_parts import parse_object

MAX_BYTES: Final = 1024 * 1024
"""The longest key set: enough for 1,000 keys with certificates."""
MIN_RSA_BITS: Final = 2_048
"""RFC 7518 section 3.3."""
MAX_RSA_BITS: Final = 8_192
"""Bounds the time of a verification, which runs in the event loop."""
MAX_KID_LENGTH: Final = 256
ANY: Final = ""
"""The key id of tokens that name none: any key of the set may be theirs."""


_KINDS: Final = {"RSA": (Algorithm.RS256, Algorithm.PS256), "EC": (Algorithm.ES256,), "OKP": (Algorithm.EDDSA,)}
_UNSET: Final[tuple[object, ...]] = (None, "", [])
"""Values of members that are not set, as serializers of objects write them (.NET's JsonWebKey)."""
_VERIFIERS: Final[Mapping[str, _Verifier]] = get_default_algorithms()


class VerificationKey:
    """One key of a set. Equal ones are the same key for the same algorithms."""

    __slots__ = ("_key", "_members", "algorithms")

    def __init__(self, members: tuple[tuple[str, str], ...], key: Any, algorithms: frozenset[Algorithm]) -> None:
        self._members = members
        self._key = key
        self.algorithms = algorithms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerificationKey) and self._members == other._members

    def __hash__(self) -> int:
        return hash(self._members)

    def verifies(self, algorithm: Algorithm, signed: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's. The key decides which algorithms it is for, not the token."""
        if algorithm not in self.algorithms:
            return False
        try:
            return bool(_VERIFIERS[algorithm].verify(signed, self._key, signature))
        except (ValueError, TypeError):
            return False


Keys = dict[str, tuple[VerificationKey, ...]]
"""Keys by their ids, and under ANY all of them."""


def parse(body: bytes) -> Keys:
    """The keys of a set that can verify signatures; keys for other purposes are left out. Raises ValueError without
    any.
    """
    members = parse_object(body).get("keys")
    if not isinstance(members, list):
        raise ValueError("not a JWK Set")
    found: dict[str, list[VerificationKey]] = {}
    for item in members:
        key = _key(item) if isinstance(item, dict) else None
        if key is None:
            continue
        kid = item.get("kid")
        if isinstance(kid, str) and 0 < len(kid) <= MAX_KID_LENGTH:
            found.setdefault(kid, []).append(key)
        found.setdefault(ANY, []).append(key)
    if not found:
        raise ValueError("no key of the set verifies signatures")
    return {kid: tuple(keys) for kid, keys in found.items()}


def candidates(keys: tuple[VerificationKey, ...], algorithm: Algorithm) -> tuple[VerificationKey, ...]:
    """Those keys that are for the algorithm."""
    return tuple(key for key in keys if algorithm in key.algorithms)


def _key(jwk: dict[str, Any]) -> VerificationKey | None:
    """The key, or None if it is not a public key for signatures of an algorithm that is accepted."""
    jwk = {name: value for name, value in jwk.items() if value not in _UNSET}
    kind, operations = jwk.get("kty"), jwk.get("key_ops")
    algorithms = frozenset(_KINDS.get(kind, ()) if isinstance(kind, str) else ())
    if jwk.get("use", "sig") != "sig" or "d" in jwk or not algorithms:
        return None  # a private key that is published is no longer anyone's signature
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    if "alg" in jwk:
        algorithms &= {algorithm_of(jwk["alg"])}
    if not algorithms:
        return None
    members = tuple(sorted((name, str(jwk[name])) for name in ("kty", "crv", "n", "e", "x", "y", "alg") if name in jwk))
    key = _public_key(jwk, next(iter(algorithms)))
    return None if key is None else VerificationKey(members, key, algorithms)


def _public_key(jwk: dict[str, Any], algorithm: Algorithm) -> Any:
    try:
        key = _VERIFIERS[algorithm].from_jwk(jwk)
    except (jwt.InvalidKeyError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
        return None
    if isinstance(key, RSAPublicKey):
        return key if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS else None
    if isinstance(key, EllipticCurvePublicKey):
        return key if isinstance(key.curve, SECP256R1) else None
    return key if isinstance(key, Ed25519PublicKey) else None
