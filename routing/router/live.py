"""The configuration in use: replaced as a whole, read without a lock."""

from dataclasses import dataclass

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
    """A configuration as loaded. Equal ones behave identically, whatever their versions."""

    table: RouteTable
    keys: tuple[KeyRecord, ...]
