"""Consumers' quotas, for Django's threads: what is used of them, and changes of that, which the audit log records."""

from http import HTTPStatus
from typing import Final

import msgspec

from metrics.audit import record_performed
from metrics.runtime_access import run_on_loop, running
from resilience.usage.counter import Counter
from routing.authentication.api_keys import ApiKeys
from routing.authentication.key_form import parse_prefix
from routing.consumers.subscription import QuotaLimit
from routing.database.key_records import key_record
from routing.errors import GatewayError

KEY: Final = "key:"
"""What the name of a key's quotas begins with, in place of a consumer's; its prefix follows."""
MAX_AMOUNT: Final = 1_000_000_000
"""The most requests that one operation may refund or add."""


class UnknownConsumer(GatewayError):
    status = HTTPStatus.NOT_FOUND
    code = "unknown_consumer"
    title = "There is no such consumer or quota"


class QuotaStatus(msgspec.Struct, frozen=True):
    """`name` is that of the RateLimit field; `limit` is the amount and what it was raised by in this period.

    `resets_at` is Unix time.
    """

    name: str
    per: str
    limit: int
    used: int
    resets_at: float

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)


def quotas_of(consumer: str) -> list[QuotaStatus]:
    """All quotas that hold for a consumer, or, of `key:PREFIX`, those of the key itself.

    Raises UnknownConsumer and StoreUnavailable.
    """
    return [_status(limit, run_on_loop(running().consumer_quotas.read(limit.meter))) for limit in _limits(consumer)]


def reset(actor: str, consumer: str, quota: str) -> QuotaStatus:
    """Let the quota's current period count from zero. Raises UnknownConsumer and StoreUnavailable."""
    return _adjust(actor, "quota.reset", consumer, quota, used=None)


def refund(actor: str, consumer: str, quota: str, amount: int) -> QuotaStatus:
    """Uncount `amount` requests of the current period."""
    return _adjust(actor, "quota.refund", consumer, quota, used=amount)


def extend(actor: str, consumer: str, quota: str, amount: int) -> QuotaStatus:
    """Raise the limit of the current period, and only of that, by `amount` requests."""
    return _adjust(actor, "quota.raise", consumer, quota, used=0, extra=amount)


def _adjust(actor: str, action: str, consumer: str, quota: str, *, used: int | None, extra: int = 0) -> QuotaStatus:
    limit = next((limit for limit in _limits(consumer) if limit.name == quota), None)
    if limit is None:
        raise UnknownConsumer(f"the consumer has no quota {quota!r}")
    quotas = running().consumer_quotas
    before = _status(limit, run_on_loop(quotas.read(limit.meter)))
    after = _status(limit, run_on_loop(quotas.adjust(limit.meter, used=used, extra=extra)))
    record_performed(
        actor,
        action,
        before={"consumer": consumer, "quota": quota, "limit": before.limit, "used": before.used},
        after={"limit": after.limit, "used": after.used},
    )
    return after


def _limits(consumer: str) -> tuple[QuotaLimit, ...]:
    keys = running().gateway.live.keys
    if consumer.startswith(KEY):
        return _limits_of_key(consumer.removeprefix(KEY), keys)
    record = keys.consumers.by_name(consumer)
    subscription = keys.consumers.subscribed(record)
    if subscription is None:
        raise UnknownConsumer(f"there is no consumer {consumer!r}")
    return subscription.quotas


def _limits_of_key(prefix: str, keys: ApiKeys) -> tuple[QuotaLimit, ...]:
    """The limits that the key has itself."""
    record = key_record(parse_prefix(prefix))
    caller = keys.caller_of(record) if record is not None else None
    if caller is None:
        raise UnknownConsumer(f"there is no active API key {prefix[:20]!r}")
    quotas = () if caller.subscription is None else caller.subscription.quotas
    return tuple(quota for quota in quotas if quota.owner == "key")


def _status(limit: QuotaLimit, counter: Counter) -> QuotaStatus:
    policy = limit.meter.policy
    return QuotaStatus(limit.name, str(policy.per), policy.amount + counter.extra, counter.used, counter.ends)
