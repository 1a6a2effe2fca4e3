"""Requests and answers for the rules' tests, and what the rules make of them."""

from resilience.cache.entry import Entry
from resilience.cache.messages import CacheRequest, CacheResponse, Skip, Storable
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.storing import may_store

NOW = 1_700_000_000.0
DATE = b"Tue, 14 Nov 2023 22:13:20 GMT"  # NOW
MINUTE_AGO = b"Tue, 14 Nov 2023 22:12:20 GMT"
IN_A_MINUTE = b"Tue, 14 Nov 2023 22:14:20 GMT"

Headers = list[tuple[bytes, bytes]]


def asked(method: str = "GET", *, authenticated: bool = False, **headers: str) -> CacheRequest:
    return CacheRequest(method, pairs(**headers), authenticated)


def pairs(**headers: str) -> Headers:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]


def verdict(
    headers: Headers,
    status: int = 200,
    request: CacheRequest | None = None,
    policy: CachePolicy | None = None,
    scope: Scope = Scope.USER,
) -> Storable | Skip:
    return may_store(request or asked(), CacheResponse(status, headers, NOW), policy or CachePolicy(), scope)


def lifetime(headers: Headers, status: int = 200, policy: CachePolicy | None = None) -> float | None:
    """Seconds from now that the answer stays fresh; None if it is not stored."""
    stored = verdict(headers, status, policy=policy)
    return None if isinstance(stored, Skip) else stored.fresh_until - NOW


def entry(
    headers: Headers,
    request: CacheRequest | None = None,
    status: int = 200,
    policy: CachePolicy | None = None,
    body: bytes = b"",
) -> Entry:
    stored = verdict(headers, status, request, policy)
    assert isinstance(stored, Storable)
    return Entry(
        status=status,
        headers=stored.headers,
        body=body,
        stored_at=NOW,
        generated_at=stored.freshness.generated_at,
        fresh_until=stored.freshness.fresh_until,
        refresh_until=stored.freshness.refresh_until,
        stale_until=stored.freshness.stale_until,
        kept_until=stored.freshness.kept_until,
        must_revalidate=stored.freshness.must_revalidate,
        vary=stored.vary,
        variant=stored.variant,
    )
