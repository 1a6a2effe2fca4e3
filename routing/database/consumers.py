"""Reads plans, teams, consumers and identities from the database. A faulty row affects itself only."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db.models import Q
from django.db.models.functions import Coalesce

from routing.configuration.consumers import decode_limits, decode_plan
from routing.consumers import policy
from routing.consumers.identities import IdentityRecord
from routing.consumers.policy import NO_LIMITS, Limits
from routing.consumers.subscription import LimitedMember
from routing.consumers.table import ConsumerRecord
from routing.database.pages import CORRUPT, Selection, readable
from routing.models import Consumer, ConsumerIdentity, Plan, Team

_COLUMNS: Final = ("pk", "name", "enabled", "since", "team_id", "plan_id")
_LIMITS: Final = ("rate", "burst", "quota", "concurrency")
_HAS_LIMITS: Final = ~Q(rate="", burst__isnull=True, quota__isnull=True, concurrency__isnull=True)


def read_plans() -> tuple[dict[str, policy.Plan], dict[int, str], list[str]]:
    """All plans, their names by row, and their faults. A plan with a fault admits nobody."""
    faults: list[str] = []
    rows = list(Plan.objects.all())
    return {row.name: _plan(row, faults) for row in rows}, {row.pk: row.name for row in rows}, faults


def read_teams() -> tuple[dict[int, LimitedMember], list[str]]:
    """All teams and their faults. A team with a fault admits nobody."""
    faults: list[str] = []
    return {row.pk: _team(row, faults) for row in Team.objects.select_related("plan")}, faults


def read_consumers(selection: Selection) -> tuple[dict[int, ConsumerRecord], dict[int, str]]:
    """The selected consumers, and faults by row. A consumer with a fault is as good as disabled."""
    records, faults = dict[int, ConsumerRecord](), dict[int, str]()
    plans = dict(Plan.objects.values_list("pk", "name"))
    query = (
        Consumer.objects.filter(selection.where()).order_by("pk").annotate(since=Coalesce("signed_up", "created_at"))
    )
    # Apart, since limits take longer to read, and few of very many consumers have their own.
    for condition, columns in ((~_HAS_LIMITS, _COLUMNS), (_HAS_LIMITS, (*_COLUMNS, *_LIMITS))):
        for pk, row in readable(query.filter(condition), columns):
            if row is None:
                faults[pk] = f"consumer {pk} cannot be read, and has no access"
            else:
                records[pk] = _consumer(row, plans, faults)
    return records, faults


def read_identities(selection: Selection) -> dict[int, IdentityRecord]:
    columns = ("pk", "consumer_id", "issuer", "subject", "tenant", "scopes")
    rows = ConsumerIdentity.objects.filter(selection.where()).order_by("pk").values_list(*columns)
    return {
        pk: IdentityRecord(consumer, issuer, subject, tenant, _scopes(scopes))
        for pk, consumer, issuer, subject, tenant, scopes in rows
    }


def _scopes(value: object) -> tuple[str, ...] | None:
    """The scopes; none if the value is not a list of scopes."""
    if value is None:
        return None
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _plan(row: Plan, faults: list[str]) -> policy.Plan:
    try:
        return decode_plan(row.name, row.to_document())
    except CORRUPT as error:
        faults.append(f"plan {row.name} cannot be read, and its consumers may call nothing: {error}")
        return policy.Plan(name=row.name, services=())


def _team(row: Team, faults: list[str]) -> LimitedMember:
    try:
        limits = _limits((row.rate, row.burst, row.quota, row.concurrency))
    except CORRUPT as error:
        faults.append(f"team {row.name} cannot be read, and has no access: {error}")
        limits = _UNREADABLE
    return LimitedMember(
        row.pk, row.name, limits or NO_LIMITS, row.anchor.timestamp(), row.plan.name if row.plan else None
    )


def _consumer(row: tuple[Any, ...], plans: Mapping[int, str], faults: dict[int, str]) -> ConsumerRecord:
    pk, name, enabled, since, team, plan_id, *own = row
    plan = plans.get(plan_id) if plan_id is not None else None
    try:
        return ConsumerRecord(pk, name, enabled, since.timestamp(), team, plan, _limits(own) if own else None)
    except CORRUPT as error:
        faults[pk] = f"consumer {name} cannot be read, and has no access: {error}"
        return ConsumerRecord(pk, name, False, 0.0, team, plan, _UNREADABLE)


def _limits(columns: Iterable[Any]) -> Limits | None:
    """None without any. Raises ConfigurationError, ValueError or TypeError."""
    found: Mapping[str, Any] = {
        name: value for name, value in zip(_LIMITS, columns, strict=True) if value not in (None, "", [])
    }
    return decode_limits(found) if found else None


_UNREADABLE: Final = Limits(concurrency=0)
