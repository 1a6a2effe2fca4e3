"""Short tokens by which backends know who a caller is, signed with the gateway's own key (ES256)."""

from collections.abc import Sequence
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm

from routing.caller import Caller
from routing.errors import ServiceMisconfigured

ALGORITHM: Final = "ES256"
PUBLISHED_SECONDS: Final = 600.0
"""How long a new key is published before it signs: twice as long as backends keep the key set."""


class IdentityKey(msgspec.Struct, frozen=True):
    """A key pair. `private` is PEM; `created_at` is Unix time."""

    kid: str
    created_at: float
    private: bytes

    def __repr__(self) -> str:
        return f"IdentityKey(kid={self.kid!r})"


def new_private_key() -> bytes:
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_jwk(kid: str, private: bytes) -> dict[str, Any]:
    """The public half as a JWK."""
    members: dict[str, Any] = ECAlgorithm.to_jwk(_load(private).public_key(), as_dict=True)
    return {**members, "kid": kid, "use": "sig", "alg": ALGORITHM}


def signing_key(keys: Sequence[IdentityKey], now: float) -> IdentityKey | None:
    """The newest key that backends know, else the oldest; None without keys."""
    known = [key for key in keys if key.created_at + PUBLISHED_SECONDS <= now]
    if known:
        return max(known, key=lambda key: key.created_at)
    return min(keys, key=lambda key: key.created_at, default=None)


class IdentitySigner:
    """`use` may be called in another thread."""

    def __init__(self) -> None:
        self._keys: tuple[IdentityKey, ...] = ()
        self._loaded: dict[str, EllipticCurvePrivateKey] = {}

    def use(self, keys: Sequence[IdentityKey]) -> None:
        """Sign with one of these keys, as `signing_key` selects it, from now on."""
        if tuple(keys) != self._keys:
            self._loaded = {key.kid: _load(key.private) for key in keys}
            self._keys = tuple(keys)

    def token(self, caller: Caller, *, audience: str, issuer: str, now: float, seconds: float) -> bytes:
        """Raises ServiceMisconfigured if there is no key."""
        key = signing_key(self._keys, now)
        if key is None:
            raise ServiceMisconfigured("the gateway has no key to sign the caller's identity with")
        claims = {
            "iss": issuer,
            "aud": audience,
            "iat": int(now),
            "exp": int(now + seconds),
            **caller_claims(caller),
        }
        return jwt.encode(claims, self._loaded[key.kid], ALGORITHM, headers={"kid": key.kid}).encode()


def caller_claims(caller: Caller) -> dict[str, Any]:
    """What a token says about a caller. `sub` is unique over all issuers, `idp_sub` for the issuer `idp`."""
    identity = caller.identity
    found = {
        "sub": caller.id,
        "tenant": tenant_of(caller),
        "scope": None if caller.scopes is None else " ".join(sorted(caller.scopes)),
        "email": identity.email if identity else None,
        "idp": identity.issuer if identity else None,
        "idp_sub": identity.subject if identity else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def tenant_of(caller: Caller) -> str | None:
    """The tenant as the caller's issuer names it."""
    return caller.identity.tenant if caller.identity else caller.tenant


def _load(private: bytes) -> EllipticCurvePrivateKey:
    key = load_pem_private_key(private, None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError("not an EC key")
    return key
