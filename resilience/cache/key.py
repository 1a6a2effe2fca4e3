"""Under which key an answer is kept: different for every two callers who may not see each other's."""

from hashlib import blake2b
from typing import Final

from resilience.cache.policy import Scope

DIGEST_BYTES: Final = 20


def scope_id(scope: Scope, caller: str, tenant: str | None) -> str:
    """Whose answers `caller` shares under this scope. One without a tenant shares with nobody, not with its like.

    `caller` is never empty: somebody anonymous has an id of the gateway's own choosing.
    """
    if scope is Scope.SHARED:
        return "shared"
    if scope is Scope.TENANT and tenant is not None:
        return f"tenant:{tenant}"
    return f"user:{caller}"


def key(service: str, scope_id: str, path: bytes, query: bytes, credentials: bytes = b"") -> str:
    """40 hexadecimal digits over all parts, each with its length, so that no two sets of parts are one.

    `credentials` is a digest of what is passed on to the backend in the caller's name, if anything is.
    """
    digest = blake2b(digest_size=DIGEST_BYTES)
    for part in (service.encode(), scope_id.encode("utf-8", "surrogatepass"), path, query, credentials):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()
