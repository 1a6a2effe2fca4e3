"""Cache keys: callers that may not see each other's responses have different keys."""

from hashlib import blake2b
from typing import Final

from resilience.cache.policy import Scope

DIGEST_BYTES: Final = 20


def scope_id(scope: Scope, caller: str, tenant: str | None) -> str:
    """The id of those who share responses with `caller` under this scope. A caller without a tenant shares with nobody.

    `caller` is never empty: anonymous callers have an id that the gateway assigns.
    """
    if scope is Scope.SHARED:
        return "shared"
    if scope is Scope.TENANT and tenant is not None:
        return f"tenant:{tenant}"
    return f"user:{caller}"


def key(service: str, scope_id: str, path: bytes, query: bytes, credentials: bytes = b"") -> str:
    """A digest of all parts, as 40 hexadecimal digits. Each is hashed with its length, which keeps them apart.

    `credentials` is a digest of the credentials that are forwarded to the backend, if any.
    """
    digest = blake2b(digest_size=DIGEST_BYTES)
    for part in (service.encode(), scope_id.encode("utf-8", "surrogatepass"), path, query, credentials):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()
