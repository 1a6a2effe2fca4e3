"""The country of an address, in this process."""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

Address = tuple[int, int]
"""The version and number, as networks.parse_address returns it."""
Find = Callable[[IPv4Address | IPv6Address], str]
"""The country's code; empty for an address that the database does not have."""
REMEMBERED: Final = 4_096


class CountryLookup:
    """`load` calls `use`. It is called at the first lookup unless `use` was called before, and may raise ValueError."""

    def __init__(self) -> None:
        self._load: Callable[[], None] | None = None
        self._find: Callable[[Address], str] | None = None

    @property
    def is_configured(self) -> bool:
        """Whether lists of addresses may name countries."""
        return self._load is not None

    def configure(self, load: Callable[[], None] | None) -> None:
        """Set what loads the database; None if there is none."""
        self._load, self._find = load, None

    def use(self, find: Find) -> None:
        """Use this lookup of addresses from now on."""

        @lru_cache(maxsize=REMEMBERED)
        def found(address: Address) -> str:
            version, number = address
            return find(IPv4Address(number) if version == 4 else IPv6Address(number))

        self._find = found

    def country_of(self, address: Address) -> str:
        """The code; empty for an address that is not in the database, and without one."""
        if self._find is None and self._load is not None:
            self._load()
        return "" if self._find is None else self._find(address)


COUNTRIES: Final = CountryLookup()
"""Of the whole process, as its environment is. Lists of addresses are parsed in many places, and ask it."""
