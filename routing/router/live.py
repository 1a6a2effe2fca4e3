"""The configuration in use: replaced as a whole, read without a lock."""

from dataclasses import dataclass

import msgspec

from routing.authentication.api_keys import ApiKeys, KeyRecord
from routing.router.table import RouteTable


class LiveConfiguration:
    """Two references, replaced one after the other by reload; every request reads each at most once."""

    __slots__ = ("keys", "table")

    def __init__(self, table: RouteTable | None = None, keys: ApiKeys | None = None) -> None:
        self.table = table or RouteTable()
        self.keys = keys or ApiKeys(())


@dataclass(frozen=True, slots=True)
class LoadedConfiguration:
    """A configuration as loaded. Equal ones behave identically, whatever their versions.

    `invalid` are the services whose settings are invalid; of others that are out of service, a secret is missing.
    `faults` are those outside of services, such as an API key whose row is corrupt.
    """

    table: RouteTable
    keys: tuple[KeyRecord, ...]
    invalid: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()


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
    return RouteTable(services.values(), loaded.table.version)
