"""The authenticated caller and its permissions."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import msgspec

from routing.consumers.subscription import Subscription

EVERY_SERVICE: Final = "*"
KEY_CALLER: Final = "key:"
"""Begins the ids of callers with API keys; the prefix of the key follows."""
DEBUG: Final = "debug"
"""The scope that callers need for `X-Gateway-Debug`."""
GATEWAY_SCOPES: Final = (
    *("metrics:read", "metrics:write", "events:publish", "keys:verify", "keys:rotate", DEBUG),
    *("config:read", "config:write", "accounts:connect"),
)
"""Permissions on the gateway itself."""


def firebase_id(uid: str, tenant: str | None) -> str:
    """The id of a Firebase user: the tenant is part of it, since tenants assign uids independently.

    The tenant is percent-encoded, so that the first colon ends it and no uid can imitate it.
    """
    if tenant is None:
        return f"firebase:{uid}"
    return f"firebase+{quote(tenant, safe='', errors='surrogatepass')}:{uid}"


class TokenIdentity(msgspec.Struct, frozen=True):
    """Who a token is from, as its issuer says. `token_id` is the token's own `jti`."""

    issuer: str
    subject: str
    tenant: str | None = None
    email: str | None = None
    token_id: str | None = None


class Caller(msgspec.Struct, frozen=True):
    """A verified caller. `id` is logged and not secret, and no two callers have the same: `key:<prefix>`,
    `firebase:<uid>` and `firebase+<tenant>:<uid>` for a user of a tenant, `jwt+<issuer>:<subject>` and
    `jwt+<issuer>+<tenant>:<subject>` for tokens of other issuers, `certificate+<consumer>:<name>` for client
    certificates, and `signature+<consumer>:<keyid>` for signed requests. `tenant` of tokens of other issuers begins
    with the issuer, since issuers name tenants independently.

    `scopes` are service names, `*` for every service, and scopes of the gateway such as `metrics:read`. None, for a
    credential without scopes, permits every service that requires none. `expires` is Unix time. `services`, if set,
    are those that the caller may use, whatever services its scopes name. `subscription` is that of the consumer whose
    credential it is. `confirmation` is the SHA-256 thumbprint of the client certificate that a token is bound to, as
    its `cnf` has it (RFC 8705 section 3.1).
    """

    id: str
    tenant: str | None = None
    scopes: frozenset[str] | None = None
    expires: float | None = None
    services: frozenset[str] | None = None
    identity: TokenIdentity | None = None
    subscription: Subscription | None = None
    confirmation: str | None = None

    @property
    def kind(self) -> str:
        """How it was identified: `key`, `firebase`, `jwt`, `certificate`, `signature` and the like."""
        return self.id.partition(":")[0].partition("+")[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The values by which a path may name this caller: its id, and what follows the colon where that is unique. A
        tenant's users are not unique by their uid, which another tenant may have given too.
        """
        kind, _, name = self.id.partition(":")
        return (self.id,) if "+" in kind else (self.id, name)

    def may_use(self, service: str, required: Iterable[str]) -> bool:
        """Whether the caller's plan includes this service, and its scopes this service and every scope it requires."""
        if self.subscription is not None and not self.subscription.includes(service):
            return False
        if self.services is not None:
            named = service in self.services or EVERY_SERVICE in self.services
            return named and all(scope in (self.scopes or ()) for scope in required)
        if self.scopes is None:
            return not any(True for _ in required)
        named = service in self.scopes or EVERY_SERVICE in self.scopes
        return named and all(scope in self.scopes for scope in required)

    def has_scope(self, scope: str) -> bool:
        """Whether the caller was granted this scope explicitly, as the gateway's own scopes must be."""
        return self.scopes is not None and scope in self.scopes
