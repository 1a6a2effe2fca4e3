"""What is configured for a caller: its plan and limits, and how much of its quotas is used."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec
from django.utils import timezone

from metrics import quotas
from metrics.callers.kinds import CallerName, Kind
from metrics.quotas import QuotaStatus, UnknownConsumer
from resilience.outage import StoreUnavailable
from routing.models import ApiKey, Consumer, Plan, Team
from routing.models.consumers import LimitSettings
from routing.rights import Names

TEAM_QUOTAS: Final = "team-"
"""What the names of a team's quotas begin with, among those of its consumers."""


class KeyUse(msgspec.Struct, frozen=True, kw_only=True):
    """An API key: `used_at` is when it was used last, `None` for never, from which address and for which service."""

    name: str
    state: str
    expires_at: datetime | None = None
    used_at: datetime | None = None
    used_from: str = ""
    used_for: str = ""


class CallerLimit(msgspec.Struct, frozen=True):
    """A limit as the configuration writes it: `owner` is whose, such as `plan pro`."""

    owner: str
    name: str
    value: str


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """`row` is the primary key of the consumer, key, team. `quotas` are None while their counts cannot be read."""

    row: int
    enabled: bool = True
    consumer: str = ""
    team: str = ""
    plan: str = ""
    key: KeyUse | None = None
    limits: tuple[CallerLimit, ...] = ()
    quotas: tuple[QuotaStatus, ...] | None = ()


def profile(caller: CallerName, names: Names = None) -> Profile | None:
    """None for a caller that the configuration does not have, and for viewers of some services: a profile is about all.

    Raises DatabaseError.
    """
    if names is not None:
        return None
    match caller.kind:
        case Kind.CONSUMER:
            return _of_consumer(caller.name)
        case Kind.TEAM:
            return _of_team(caller.name)
    return _of_key(caller.key) if caller.key else None


def _of_consumer(name: str) -> Profile | None:
    found = Consumer.objects.select_related("plan", "team__plan").filter(name=name).first()
    if found is None:
        return None
    plan = _plan(found)
    return Profile(
        row=found.pk,
        enabled=found.enabled,
        team=found.team.name if found.team else "",
        plan=plan.name if plan else "",
        limits=tuple(_limits_of(found)),
        quotas=_quotas(found.name),
    )


def _of_key(prefix: str) -> Profile | None:
    related = ("consumer__plan", "consumer__team__plan")
    key = ApiKey.objects.select_related(*related).filter(prefix=prefix).first()
    if key is None:
        return None
    consumer = key.consumer
    plan = _plan(consumer) if consumer else None
    own = tuple(_limits("key", key.limits or {}))
    return Profile(
        row=key.pk,
        enabled=consumer is None or consumer.enabled,
        consumer=consumer.name if consumer else "",
        team=consumer.team.name if consumer and consumer.team else "",
        plan=plan.name if plan else "",
        key=KeyUse(
            name=key.name,
            state=key.state(timezone.now()),
            expires_at=key.expires_at,
            used_at=key.last_used_at,
            used_from=key.last_used_from,
            used_for=key.last_used_service,
        ),
        limits=(*own, *(_limits_of(consumer) if consumer else ())),
        quotas=_quotas(f"{quotas.KEY}{prefix}"),
    )


def _of_team(name: str) -> Profile | None:
    team = Team.objects.select_related("plan").filter(name=name).first()
    if team is None:
        return None
    member = Consumer.objects.filter(team=team).order_by("pk").values_list("name", flat=True).first()
    found = _quotas(member) if member else ()
    return Profile(
        row=team.pk,
        plan=team.plan.name if team.plan else "",
        limits=tuple(_settings("team", team)),
        quotas=found and tuple(quota for quota in found if quota.name.startswith(TEAM_QUOTAS)),
    )


def _plan(consumer: Consumer) -> Plan | None:
    return consumer.plan or (consumer.team.plan if consumer.team else None)


def _limits_of(consumer: Consumer) -> Iterator[CallerLimit]:
    """The narrowest owner first."""
    yield from _settings("consumer", consumer)
    if plan := _plan(consumer):
        yield from _settings(f"plan {plan.name}", plan)
    if consumer.team:
        yield from _settings(f"team {consumer.team.name}", consumer.team)


def _settings(owner: str, item: LimitSettings) -> Iterator[CallerLimit]:
    return _limits(owner, LimitSettings.to_document(item))


def _limits(owner: str, settings: dict[str, Any]) -> Iterator[CallerLimit]:
    """The limits without quotas, whose counts are shown separately."""
    for name in ("rate", "burst", "concurrency"):
        if value := settings.get(name):
            yield CallerLimit(owner, name, str(value))


def _quotas(name: str) -> tuple[QuotaStatus, ...] | None:
    try:
        return tuple(quotas.quotas_of(name))
    except StoreUnavailable:
        return None
    except UnknownConsumer:
        return ()  # a disabled consumer, a revoked key, or one that this worker has not loaded yet
