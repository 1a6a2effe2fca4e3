"""What a backend is sent about a caller besides its id: header fields, or a token that the gateway signs."""

import re
from enum import StrEnum
from typing import Final

import msgspec

MAX_SECONDS: Final = 3_600.0
HEADER: Final = "x-gateway-identity"
ISSUER: Final = "intelligence-gateway"
_OWN: Final = re.compile(r"x-gateway-[a-z0-9-]{1,64}")
_TAKEN: Final = frozenset({"caller", "tenant", "scopes", "email", "debug", "timeout-ms", "fallback"})


class IdentityField(StrEnum):
    """A field about the caller, sent as X-Gateway-<name>."""

    TENANT = "tenant"
    SCOPES = "scopes"
    EMAIL = "email"


class IdentityPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`fields` are sent as header fields. With an `audience`, `header` has a token for it, of `issuer`, which holds for
    `ttl` seconds.
    """

    fields: tuple[IdentityField, ...] = ()
    header: str = HEADER
    audience: str | None = None
    issuer: str = ISSUER
    ttl: float = 60.0

    def __post_init__(self) -> None:
        if _OWN.fullmatch(self.header) is None or self.header.removeprefix("x-gateway-") in _TAKEN:
            raise ValueError("header must begin with X-Gateway-, which no client can send, and have no other meaning")
        if not 1 <= self.ttl <= MAX_SECONDS:
            raise ValueError("ttl must be from 1 s to 1 h")
        if not self.fields and self.audience is None:
            raise ValueError("identity needs fields, or an audience for a signed token")
