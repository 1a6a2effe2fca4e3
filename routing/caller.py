"""Who is asking, and what they may do."""

from collections.abc import Iterable
from typing import Final

import msgspec

EVERY_SERVICE: Final = "*"


class Caller(msgspec.Struct, frozen=True):
    """A verified caller. `id` is `firebase:<uid>` or `key:<prefix>`: it is logged, and is no secret.

    `scopes` are service names, `*` for every service, and the gateway's own rights; None, for a credential
    that says nothing of scopes, is every service that asks for none. `expires` is Unix time.
    """

    id: str
    tenant: str | None = None
    scopes: frozenset[str] | None = None
    expires: float | None = None

    def may_use(self, service: str, needed: Iterable[str]) -> bool:
        """Whether the caller's scopes name this service and hold all that it asks for beyond its name."""
        if self.scopes is None:
            return not any(True for _ in needed)
        named = service in self.scopes or EVERY_SERVICE in self.scopes
        return named and all(scope in self.scopes for scope in needed)

    def holds(self, right: str) -> bool:
        """Whether the caller has one of the gateway's own rights, such as `metrics:read`: never by default."""
        return self.scopes is not None and right in self.scopes
