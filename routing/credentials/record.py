"""A credential's access token and failures as workers share them, and the rules of when to refresh. No I/O."""

from typing import Final

import msgspec

from routing.credentials.token_response import TokenRequestFailed, TokenResponse

EARLY_SHARE: Final = 0.2
MAX_EARLY_SECONDS: Final = 300.0
"""A token is refreshed when this share of its lifetime is left, or this long before its end if that is later."""
TRANSIENT_SECONDS: Final = 1.0
MAX_TRANSIENT_SECONDS: Final = 60.0
PERMANENT_SECONDS: Final = 60.0
MAX_PERMANENT_SECONDS: Final = 3_600.0
"""The first backoff and the longest, each twice the one before: of failures that may pass, and of those that do not."""
REFUSED_SECONDS: Final = 60.0
"""After the backend has refused a token that was fetched because of a refusal, it is not fetched again for so long."""
KEEP_SECONDS: Final = 86_400.0
"""How long a failure is remembered beyond its backoff, so that the next one is longer."""


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Times are Unix seconds. `failure` is the code of the last request for a token if it failed; `retry_at` the end of
    its backoff. `refused_at`: when the backend refused a token that had just been fetched because of a refusal.
    """

    access_token: str = ""
    obtained_at: float = 0.0
    expires_at: float = 0.0
    failure: str = ""
    failed_at: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    refused_at: float = 0.0

    def __repr__(self) -> str:
        return f"TokenRecord(expires_at={self.expires_at:g}, failure={self.failure!r})"

    def is_valid(self, now: float) -> bool:
        return bool(self.access_token) and now < self.expires_at

    def refresh_at(self, jitter: float) -> float:
        """When to refresh. `jitter`, from 0 to 1, spreads workers and credentials over half of the time left."""
        early = min(MAX_EARLY_SECONDS, EARLY_SHARE * (self.expires_at - self.obtained_at))
        return self.expires_at - early * (1 - jitter / 2)

    def may_try(self, now: float) -> bool:
        """Whether the token endpoint may be called: not during a backoff. A clock that was set back ends it."""
        return not self.failure or now >= self.retry_at or now < self.failed_at - MAX_PERMANENT_SECONDS

    def was_refused(self, now: float) -> bool:
        return bool(self.refused_at) and abs(now - self.refused_at) < REFUSED_SECONDS

    def keeps_for(self, now: float) -> float:
        """The seconds for which the record is useful."""
        return max(self.expires_at, self.retry_at + KEEP_SECONDS if self.failure else 0.0, now + 1.0) - now


def renewed(record: TokenRecord, tokens: TokenResponse, now: float) -> TokenRecord:
    """The record after a success. `now` is when the request was sent."""
    return TokenRecord(
        access_token=tokens.access_token,
        obtained_at=now,
        expires_at=now + tokens.expires_in,
        refused_at=record.refused_at,
    )


def failed(record: TokenRecord, error: TokenRequestFailed, now: float) -> TokenRecord:
    """The record after a failure. A token that is still valid stays in use."""
    count = record.failures + 1
    base, limit = (
        (PERMANENT_SECONDS, MAX_PERMANENT_SECONDS) if error.permanent else (TRANSIENT_SECONDS, MAX_TRANSIENT_SECONDS)
    )
    wait = min(limit, base * 2.0 ** min(count - 1, 16))
    return msgspec.structs.replace(
        record,
        failure=error.code,
        failed_at=now,
        failures=count,
        retry_at=now + max(wait, error.retry_after or 0.0),
    )


def without_token(record: TokenRecord) -> TokenRecord:
    """The record without its token, which the backend has refused."""
    return msgspec.structs.replace(record, access_token="", expires_at=0.0)


def with_failure_of(record: TokenRecord, other: TokenRecord) -> TokenRecord:
    """The record with the failure that another worker has met."""
    return msgspec.structs.replace(
        record,
        failure=other.failure,
        failed_at=other.failed_at,
        failures=other.failures,
        retry_at=other.retry_at,
    )
