"""The configuration in use: replaced as a whole, read without a lock."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from routing.authentication.api_keys import ApiKeys, KeyRecord
from routing.authentication.key_table import KeyTable
from routing.consumers.table import NO_CONSUMERS, ConsumerChanges, ConsumerData, apply_changes
from routing.router.table import RouteTable


class LiveConfiguration:
    """Two references, replaced one after the other by reload; every request reads each at most once."""

    __slots__ = ("keys", "table")

    def __init__(self, table: RouteTable | None = None, keys: ApiKeys | None = None) -> None:
        self.table = table or RouteTable()
        self.keys = keys or ApiKeys(())


class CredentialChanges(msgspec.Struct, frozen=True):
    """What has changed of keys, by row, and of consumers since the last load. None is a key that is not there."""

    keys: Mapping[int, KeyRecord | None] = {}
    consumers: ConsumerChanges = ConsumerChanges()

    def __bool__(self) -> bool:
        return bool(self.keys or self.consumers)


NO_CHANGES: Final = CredentialChanges()


@dataclass(frozen=True, slots=True)
class LoadedConfiguration:
    """A configuration as loaded. Equal ones behave identically, whatever their versions.

    `invalid` are the services whose settings are invalid; of others that are out of service, a secret is missing.
    `faults` are those outside of services, such as an API key whose row is corrupt. `changes` are still to be made to
    `keys` and `consumers`, by the thread that reads them.
    """

    table: RouteTable
    keys: Collection[KeyRecord]
    invalid: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()
    consumers: ConsumerData = NO_CONSUMERS
    changes: CredentialChanges = NO_CHANGES
    loaded_version: int | None = field(default=None, compare=False)

    @property
    def version(self) -> int:
        """The configuration's version: later than the table's where only keys and consumers have changed."""
        return self.table.version if self.loaded_version is None else self.loaded_version

    def apply_changes(self) -> None:
        """Make the changes to the keys and consumers. Only for those of the database, which have tables for it."""
        if self.changes.keys:
            assert isinstance(self.keys, KeyTable)  # noqa: S101 - as documented
            self.keys.apply(self.changes.keys)
        apply_changes(self.consumers, self.changes.consumers)


def with_last_valid(loaded: LoadedConfiguration, current: RouteTable) -> RouteTable:
    """The table to use after `current`: a service whose settings are invalid continues with those of `current`.

    One whose secret is missing does not: no restarted worker could continue it either.
    """
    services = dict(loaded.table.services)
    for name in loaded.invalid & current.services.keys():
        last = current.services[name]
        if name in services and not last.is_out:
            taken = {host for other in services.values() if other.name != name for host in other.hosts}
            hosts = tuple(host for host in last.hosts if host not in taken)
            services[name] = msgspec.structs.replace(last, hosts=hosts, faults=services[name].faults)
    table = loaded.table
    return RouteTable(
        services.values(),
        table.version,
        webhooks=table.webhooks.values(),
        issuers=table.issuers,
        revocations=table.revocations,
        has_members=table.has_members,
        signing_keys=table.signing_keys.keys,
        alerts=table.alerts,
    )
