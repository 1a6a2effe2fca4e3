"""A consumer with its team and plan, and all limits that hold for its requests. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from resilience.ratelimit.policy import RatePolicy
from resilience.usage.meter import Meter
from routing.consumers.policy import Limits, Plan


class RateLimit(msgspec.Struct, frozen=True):
    """A rate, and under which key requests count. `name` is that of its RateLimit field; `owner` whose limit it is."""

    name: str
    owner: str
    policy: RatePolicy
    key: str


class QuotaLimit(msgspec.Struct, frozen=True):
    name: str
    owner: str
    meter: Meter


class ConcurrencyLimit(msgspec.Struct, frozen=True):
    owner: str
    limit: int
    key: str


class LimitedMember(msgspec.Struct, frozen=True):
    """A team or a consumer: `id` is that of its row, under which it is counted whatever its name."""

    id: int
    name: str
    limits: Limits
    signed_up: float
    plan: str | None = None


class Subscription:
    """What holds for the requests of one credential. `consumer` is empty for a key without one that has own limits;
    `consumer_id` is that of its row, 0 without one.

    `counted` are rates and quotas in the order in which they are checked: the narrowest owner first. These,
    `concurrent` and `methods` are made when they are first read: a credential may be looked up without being used.
    """

    __slots__ = (
        "_owners",
        "_plan",
        "concurrent",
        "consumer",
        "consumer_id",
        "counted",
        "ip",
        "methods",
        "plan",
        "price",
        "team",
    )
    concurrent: tuple[ConcurrencyLimit, ...]
    counted: tuple[RateLimit | QuotaLimit, ...]
    methods: Mapping[str, frozenset[str]] | None

    def __init__(
        self, key: LimitedMember | None, consumer: LimitedMember | None, team: LimitedMember | None, plan: Plan | None
    ) -> None:
        self.consumer = consumer.name if consumer else ""
        self.consumer_id = consumer.id if consumer else 0
        self.team = team.name if team else ""
        self.plan = plan.name if plan else ""
        self.price = plan.price if plan else None
        self.ip = plan.ip if plan else ()
        self._owners = key, consumer, team
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        """Called for attributes that have not been set yet."""
        if name == "methods":
            self.methods = _methods(self._plan)
        elif name in ("counted", "concurrent"):
            self._set_limits()
        else:
            raise AttributeError(name)
        return getattr(self, name)

    def _set_limits(self) -> None:
        (key, consumer, team), plan = self._owners, self._plan
        owners: list[tuple[str, LimitedMember | None, Limits | None]] = [
            ("key", key, key.limits if key else None),
            ("consumer", consumer, consumer.limits if consumer else None),
            ("plan", consumer, plan.limits if plan else None),
            ("team", team, team.limits if team else None),
        ]
        counted: list[RateLimit | QuotaLimit] = []
        concurrent: list[ConcurrencyLimit] = []
        for name, member, limits in owners:
            if member is None or limits is None:
                continue
            subject = f"{'consumer' if name == 'plan' else name}:{member.id}"
            counted += [*_rates(name, subject, limits), *_quotas(name, subject, limits, member.signed_up)]
            if limits.concurrency is not None:
                concurrent.append(ConcurrencyLimit(name, limits.concurrency, f"{subject}|{name}"))
        self.counted, self.concurrent = tuple(counted), tuple(concurrent)

    @property
    def first_rate(self) -> RateLimit | None:
        """The rate that replaces the gateway's own limit per caller."""
        return next((limit for limit in self.counted if isinstance(limit, RateLimit)), None)

    @property
    def quotas(self) -> tuple[QuotaLimit, ...]:
        return tuple(limit for limit in self.counted if isinstance(limit, QuotaLimit))

    def includes(self, service: str) -> bool:
        """Whether the plan includes the service, for some method."""
        return self.methods is None or service in self.methods

    def allows(self, service: str, method: str) -> bool:
        """Whether the plan includes this method of the service. HEAD is part of GET (RFC 9110 section 9.3.2)."""
        if self.methods is None:
            return True
        methods = self.methods.get(service)
        return methods is not None and (not methods or method in methods or (method == "HEAD" and "GET" in methods))


def _methods(plan: Plan | None) -> Mapping[str, frozenset[str]] | None:
    if plan is None or plan.services is None:
        return None
    return {access.name: frozenset(access.methods) for access in plan.services}


def _rates(name: str, subject: str, limits: Limits) -> Iterator[RateLimit]:
    """The burst is a limit of the time in which the rate allows as many requests."""
    rate = limits.rate
    if rate is None:
        return
    yield RateLimit(name, name, rate, f"{subject}|{name}|{rate}")
    if limits.burst is not None and limits.burst < rate.limit:
        burst = RatePolicy(limits.burst, rate.window * limits.burst / rate.limit)
        yield RateLimit(f"{name}-burst", name, burst, f"{subject}|{name}|burst|{burst}")


def _quotas(name: str, subject: str, limits: Limits, signed_up: float) -> Iterator[QuotaLimit]:
    for policy in limits.quotas:
        yield QuotaLimit(f"{name}-{policy.per}", name, Meter(f"{subject}|{name}|{policy.per}", policy, signed_up))
