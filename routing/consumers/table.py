"""All consumers, by row and by identity, and the subscription of each credential."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from routing.consumers.identities import IdentityRecord, IdentityTable
from routing.consumers.packed import PackedRows
from routing.consumers.policy import NO_LIMITS, Limits, Plan, UserBinding
from routing.consumers.subscription import LimitedMember, Subscription


class ConsumerRecord(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A stored consumer. `team` and `plan` are the row and the name; a disabled one has no valid credential."""

    id: int
    name: str
    enabled: bool
    signed_up: float
    team: int | None = None
    plan: str | None = None
    limits: Limits | None = None


class ConsumerData(msgspec.Struct, frozen=True):
    """Plans, teams, consumers and identities as loaded."""

    plans: Mapping[str, Plan] = {}
    teams: Mapping[int, LimitedMember] = {}
    consumers: Mapping[int, ConsumerRecord] = {}
    identities: Mapping[UserBinding, int] = {}


class ConsumerChanges(msgspec.Struct, frozen=True):
    """Consumers and identities that have changed, by row; None is a row that is no longer there."""

    consumers: Mapping[int, ConsumerRecord | None] = {}
    identities: Mapping[int, IdentityRecord | None] = {}

    def __bool__(self) -> bool:
        return bool(self.consumers or self.identities)


NO_CONSUMERS: Final = ConsumerData()


def apply_changes(data: ConsumerData, changes: ConsumerChanges) -> None:
    """Change consumers and identities in place. Only for data of the database, which has tables for it."""
    consumers, identities = data.consumers, data.identities
    for row, consumer in changes.consumers.items():
        assert isinstance(consumers, PackedRows)  # noqa: S101 - as documented
        if consumer is None:
            consumers.pop(row, None)
        else:
            consumers[row] = consumer
    if changes.identities:
        assert isinstance(identities, IdentityTable)  # noqa: S101 - as documented
        identities.apply(changes.identities)


class ConsumerTable:
    """The consumers of one version of the configuration. Replaced at each change, so that what was derived from an
    earlier one is known to be outdated.
    """

    def __init__(self, data: ConsumerData = NO_CONSUMERS) -> None:
        self.data = data

    def __bool__(self) -> bool:
        return bool(self.data.consumers)

    @property
    def has_identities(self) -> bool:
        return bool(self.data.identities)

    def find(self, consumer: int) -> ConsumerRecord | None:
        return self.data.consumers.get(consumer)

    def by_name(self, name: str) -> ConsumerRecord | None:
        """The consumer of this name. Searches all of them, so it is for operators only."""
        consumers = self.data.consumers
        records = consumers.containing(name) if isinstance(consumers, PackedRows) else consumers.values()
        return next((record for record in records if record.name == name), None)

    def subscription(self, consumer: int | None, key: LimitedMember | None = None) -> Subscription | None:
        """What holds for a credential of this consumer; None if nothing does. `key` has limits of its own."""
        return self.subscribed(self.data.consumers.get(consumer) if consumer is not None else None, key)

    def subscribed(self, record: ConsumerRecord | None, key: LimitedMember | None = None) -> Subscription | None:
        """The same, of a record."""
        if record is None:
            return None if key is None else Subscription(key, None, None, None)
        team = self.data.teams.get(record.team) if record.team is not None else None
        plan = record.plan or (team.plan if team else None)
        member = LimitedMember(record.id, record.name, record.limits or NO_LIMITS, record.signed_up)
        return Subscription(key, member, team, self.data.plans.get(plan) if plan else None)

    def by_identity(self, candidates: Iterable[UserBinding]) -> ConsumerRecord | None:
        """The consumer of the first of these identities that has one."""
        for identity in candidates:
            consumer = self.data.identities.get(identity)
            if consumer is not None:
                return self.data.consumers.get(consumer)
        return None

    def scopes_of(self, identity: UserBinding) -> frozenset[str] | None:
        """The scopes of a credential that this identity names; None if it has none of its own."""
        identities = self.data.identities
        return identities.scopes(identity) if isinstance(identities, IdentityTable) else None
