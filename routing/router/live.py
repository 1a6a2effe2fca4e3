"""The configuration that is being served: swapped whole, read without a lock."""

from routing.authentication.api_keys import ApiKeys
from routing.router.table import RouteTable


class LiveConfiguration:
    """Two references, replaced one after the other by reload; every request reads each at most once."""

    __slots__ = ("keys", "table")

    def __init__(self, table: RouteTable | None = None, keys: ApiKeys | None = None) -> None:
        self.table = table or RouteTable()
        self.keys = keys or ApiKeys(())
