"""Sets of networks, and lists of those that may and may not call. Pure rules.

An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is the IPv4 address, in lists and in requests.
"""

import socket
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, ip_network
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec

from routing.countries.codes import is_country, parse_country
from routing.countries.lookup import COUNTRIES

MAX_ENTRIES: Final = 200_000
INDEXED: Final = 512
"""Ranges from which on a list has an index, of 256 kB."""
_BITS: Final = {4: 32, 6: 128}
_MAPPED: Final = 0xFFFF
_MAPPED_BITS: Final = 96


class Network(NamedTuple):
    """The addresses of one entry, as numbers; both ends are included."""

    version: int
    first: int
    last: int


class NetworkSet:
    """The addresses of several networks, as sorted disjoint ranges: a lookup is a binary search.

    In long lists it is one among those IPv4 ranges that begin with the same 16 bits. `countries` are the codes of those
    whose addresses are in the set too, wherever the database has them at the time of a lookup.
    """

    __slots__ = ("_offsets", "_ranges", "countries", "entries")

    def __init__(self, entries: Sequence[str]) -> None:
        """Raises ValueError for an entry that is neither an address nor a network nor a country."""
        self.entries: Final = tuple(entries)
        self.countries: Final = frozenset(parse_country(entry) for entry in entries if is_country(entry))
        networks = [parse_network(entry) for entry in entries if not is_country(entry)]
        self._ranges: Final = {version: _merged(networks, version) for version in _BITS}
        self._offsets: Final = _offsets(self._ranges[4][0])

    def __contains__(self, address: tuple[int, int]) -> bool:
        """Whether the address is in one of the networks. Countries are not considered."""
        version, number = address
        starts, ends = self._ranges[version]
        offsets = self._offsets
        if version == 4 and offsets is not None:
            half = number >> 16
            index = bisect_right(starts, number, offsets[half], offsets[half + 1]) - 1
        else:
            index = bisect_right(starts, number) - 1
        return index >= 0 and number <= ends[index]

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, NetworkSet) and self._ranges == other._ranges and self.countries == other.countries
        )

    def __hash__(self) -> int:
        return hash(self.entries)

    def __repr__(self) -> str:
        return f"NetworkSet({len(self.entries)} entries)"

    def has_country_of(self, address: tuple[int, int]) -> bool:
        return COUNTRIES.country_of(address) in self.countries

    def has_every(self, version: int) -> bool:
        """Whether every address of this version of IP is in the set."""
        return self._ranges[version] == ([0], [(1 << _BITS[version]) - 1])

    def covers(self, other: "NetworkSet") -> bool:
        """Whether every address of `other` is in this set too, as far as that can be known without a database."""
        if not other.countries <= self.countries:
            return False
        for version, (starts, ends) in other._ranges.items():
            own_starts, own_ends = self._ranges[version]
            for start, end in zip(starts, ends, strict=True):
                index = bisect_right(own_starts, start) - 1
                if index < 0 or end > own_ends[index]:
                    return False
        return True


class AddressPolicy(msgspec.Struct, frozen=True):
    """Which addresses may call: those of `allow` (None for all) without those of `deny`."""

    allow: NetworkSet | None = None
    deny: NetworkSet | None = None

    def permits(self, client: str) -> bool:
        """Whether a client with this address may call. One without a known address may not."""
        address, allow, deny = parse_address(client), self.allow, self.deny
        if address is None:
            return False
        if deny is not None and (address in deny or (deny.countries and deny.has_country_of(address))):
            return False
        return allow is None or address in allow or (bool(allow.countries) and allow.has_country_of(address))

    @property
    def names_countries(self) -> bool:
        return any(networks is not None and networks.countries for networks in (self.allow, self.deny))


Addresses = tuple[AddressPolicy, ...]
"""Policies that all must permit an address; none permits every one."""


def permits(policies: Addresses, client: str) -> bool:
    for policy in policies:  # noqa: SIM110 - a generator would take half of the time
        if not policy.permits(client):
            return False
    return True


def name_countries(policies: Addresses) -> bool:
    return any(policy.names_countries for policy in policies)


def described_country(client: str) -> str:
    """The country of a client's address in words, or that it is not known."""
    code = country_of(client)
    return f"country {code}" if code else "country not known"


def country_of(client: str) -> str:
    """The code of the country that a client's address is in; empty where that is not known."""
    address = parse_address(client)
    return "" if address is None else COUNTRIES.country_of(address)


@lru_cache(maxsize=4_096)
def parse_address(text: str) -> tuple[int, int] | None:
    """The version and number of an address, without its zone; None if it is not one."""
    try:
        if ":" not in text:
            return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, text.partition("%")[0]), "big")
    except (OSError, ValueError):
        return None
    return (4, number & 0xFFFFFFFF) if number >> 32 == _MAPPED else (6, number)


def parse_network(text: str) -> Network:
    """An address, or a network such as `10.0.0.0/8`. Raises ValueError."""
    address, slash, length = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        number = int.from_bytes(socket.inet_pton(family, address), "big")
    except (OSError, ValueError):
        raise ValueError(f"{_short(text)} is not an address or a network such as 10.0.0.0/8 or 2001:db8::/32") from None
    version = 6 if family is socket.AF_INET6 else 4
    bits = _BITS[version]
    if not slash:
        size = bits
    elif length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= bits:
        size = int(length)
    else:
        raise ValueError(f"{_short(text)}: what follows the slash must be from 0 to {bits}")
    host = bits - size
    first = number >> host << host
    if first != number:
        is_mapped = version == 6 and number >> 32 == _MAPPED and size <= _BITS[4]  # the length is that of IPv4
        meant = f"{IPv4Address(number & 0xFFFFFFFF)}/{size}" if is_mapped else f"{address}/{size}"
        network = ip_network(meant, strict=False)
        raise ValueError(f"{_short(text)} has host bits set: write {network}, or {address} for one address")
    if version == 6 and size >= _MAPPED_BITS and number >> 32 == _MAPPED:
        return Network(4, first & 0xFFFFFFFF, (first & 0xFFFFFFFF) | ((1 << host) - 1))
    return Network(version, first, first | ((1 << host) - 1))


@lru_cache(maxsize=16)
def compiled(entries: tuple[str, ...]) -> NetworkSet:
    """The set of these networks. Kept, since a configuration is decoded again at every change. Raises ValueError."""
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"more than {MAX_ENTRIES} networks")
    return NetworkSet(entries)


def _merged(networks: Iterable[Network], version: int) -> tuple[list[int], list[int]]:
    """The starts and ends of this version's ranges: sorted, and joined where they overlap or touch."""
    starts, ends = list[int](), list[int]()
    for first, last in sorted((item.first, item.last) for item in networks if item.version == version):
        if ends and first <= ends[-1] + 1:
            ends[-1] = max(ends[-1], last)
        else:
            starts.append(first)
            ends.append(last)
    return starts, ends


def _offsets(starts: list[int]) -> "array[int] | None":
    """How many IPv4 ranges begin below each 16 bits; None for a short list."""
    if len(starts) < INDEXED:
        return None
    counts = [0] * (1 << 16)
    for start in starts:
        counts[start >> 16] += 1
    return array("I", accumulate(counts, initial=0))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
