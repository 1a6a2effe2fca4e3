"""Cache keys: callers that may not see each other's responses have different keys, as have requests that a backend
would answer differently.
"""

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


def key(
    service: str,
    scope_id: str,
    path: bytes,
    query: bytes,
    *,
    origin: bytes = b"",
    credentials: bytes = b"",
    backend: bytes = b"",
    content: bytes = b"",
) -> str:
    """A digest of all parts, as 40 hexadecimal digits. Each is hashed with its length, which keeps them apart.

    `origin` is what the backend learns of the host and scheme that the client used, `credentials` a digest of the
    credentials that it gets, if any, `backend` a digest of the configuration that decides what it would respond, and
    `content` the key of the request's content, where that is part of it.
    """
    digest = blake2b(digest_size=DIGEST_BYTES)
    owner = scope_id.encode("utf-8", "surrogatepass")
    parts = (service.encode(), owner, path, query, origin, credentials, backend)
    for part in (*parts, content) if content else parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()
