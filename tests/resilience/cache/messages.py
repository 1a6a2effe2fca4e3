"""Requests and responses for the tests of the rules, and the results of the rules."""

from resilience.cache.entry import Entry
from resilience.cache.messages import CacheRequest, CacheResponse, Skip, Storable
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.storing import may_store

NOW = 1_700_000_000.0
DATE = b"Tue, 14 Nov 2023 22:13:20 GMT"  # NOW
MINUTE_AGO = b"Tue, 14 Nov 2023 22:12:20 GMT"
IN_A_MINUTE = b"Tue, 14 Nov 2023 22:14:20 GMT"

Headers = list[tuple[bytes, bytes]]


def make_request(method: str = "GET", *, authenticated: bool = True, **headers: str) -> CacheRequest:
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
    return may_store(request or make_request(), CacheResponse(status, headers, NOW), policy or CachePolicy(), scope)


def lifetime(headers: Headers, status: int = 200, policy: CachePolicy | None = None) -> float | None:
    """Seconds from now for which the response is fresh; None if it is not storable."""
    storable = verdict(headers, status, policy=policy)
    return None if isinstance(storable, Skip) else storable.fresh_until - NOW


def entry(
    headers: Headers,
    request: CacheRequest | None = None,
    status: int = 200,
    policy: CachePolicy | None = None,
    body: bytes = b"",
) -> Entry:
    storable = verdict(headers, status, request, policy)
    assert isinstance(storable, Storable)
    return Entry(
        status=status,
        headers=storable.headers,
        body=body,
        stored_at=NOW,
        generated_at=storable.freshness.generated_at,
        fresh_until=storable.freshness.fresh_until,
        refresh_until=storable.freshness.refresh_until,
        stale_until=storable.freshness.stale_until,
        kept_until=storable.freshness.kept_until,
        must_revalidate=storable.freshness.must_revalidate,
        vary=storable.vary,
        variant=storable.variant,
    )
