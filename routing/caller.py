"""The authenticated caller and its permissions."""

from collections.abc import Iterable
from typing import Final

import msgspec

EVERY_SERVICE: Final = "*"


class Caller(msgspec.Struct, frozen=True):
    """A verified caller. `id` is `firebase:<uid>` or `key:<prefix>`; it is logged and not secret.

    `scopes` are service names, `*` for every service, and scopes of the gateway such as `metrics:read`. None, for a
    credential without scopes, permits every service that requires none. `expires` is Unix time.
    """

    id: str
    tenant: str | None = None
    scopes: frozenset[str] | None = None
    expires: float | None = None

    def may_use(self, service: str, required: Iterable[str]) -> bool:
        """Whether the caller's scopes include this service and every scope it requires."""
        if self.scopes is None:
            return not any(True for _ in required)
        named = service in self.scopes or EVERY_SERVICE in self.scopes
        return named and all(scope in self.scopes for scope in required)

    def has_scope(self, scope: str) -> bool:
        """Whether the caller was granted this scope explicitly, as the gateway's own scopes must be."""
        return self.scopes is not None and scope in self.scopes
