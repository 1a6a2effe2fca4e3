"""The authenticated caller and its permissions."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import msgspec

EVERY_SERVICE: Final = "*"


def firebase_id(uid: str, tenant: str | None) -> str:
    """The id of a Firebase user: the tenant is part of it, since tenants assign uids independently.

    The tenant is percent-encoded, so that the first colon ends it and no uid can imitate it.
    """
    if tenant is None:
        return f"firebase:{uid}"
    return f"firebase+{quote(tenant, safe='', errors='surrogatepass')}:{uid}"


class Caller(msgspec.Struct, frozen=True):
    """A verified caller. `id` is `firebase:<uid>`, `firebase+<tenant>:<uid>` for a user of a tenant, or `key:<prefix>`;
    it is logged and not secret, and no two callers have the same.

    `scopes` are service names, `*` for every service, and scopes of the gateway such as `metrics:read`. None, for a
    credential without scopes, permits every service that requires none. `expires` is Unix time.
    """

    id: str
    tenant: str | None = None
    scopes: frozenset[str] | None = None
    expires: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The values by which a path may name this caller: its id, and what follows the colon where that is unique. A
        tenant's users are not unique by their uid, which another tenant may have given too.
        """
        kind, _, name = self.id.partition(":")
        return (self.id,) if "+" in kind else (self.id, name)

    def may_use(self, service: str, required: Iterable[str]) -> bool:
        """Whether the caller's scopes include this service and every scope it requires."""
        if self.scopes is None:
            return not any(True for _ in required)
        named = service in self.scopes or EVERY_SERVICE in self.scopes
        return named and all(scope in self.scopes for scope in required)

    def has_scope(self, scope: str) -> bool:
        """Whether the caller was granted this scope explicitly, as the gateway's own scopes must be."""
        return self.scopes is not None and scope in self.scopes
