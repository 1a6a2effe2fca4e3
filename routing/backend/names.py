"""The addresses of targets' names: looked up in the background, kept while lookups fail."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import zip_longest
from math import inf
from typing import Final, cast

from resilience.task_set import TaskSet
from resilience.thread_pool import ThreadPool

REFRESH_SECONDS: Final = 30.0
"""Between two lookups of a name in use. getaddrinfo does not report the records' TTL."""
RETIRE_SECONDS: Final = 30.0
"""An address that lookups have not returned for this long is retired. Some servers return a few of many addresses."""
RENEW_SECONDS: Final = 1.0
"""A name whose addresses cannot be connected to is looked up at most this often."""
FORGET_SECONDS: Final = 900.0
"""A name that no connection has been opened to for this long is dropped. Connections are renewed more often."""
REFRESHES_AT_ONCE: Final = 16
"""Lookups in the background at a time."""
MAX_ADDRESSES: Final = 16
"""Addresses of a name that one connection is attempted to."""

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
Found = tuple[int, SocketAddress]
"""An address family and an address of it."""
Lookup = Callable[[str, int], Awaitable[Iterable[Found]]]


class Address:
    """One address of a name. `retires_at`, by the table's clock, is when its connections must end; infinity for never.

    `failed`: the last attempt to connect failed, or was slower than one to another address. It gets another chance when
    its name is looked up as it is every REFRESH_SECONDS.
    """

    __slots__ = ("failed", "family", "retires_at", "socket_address")

    def __init__(self, family: int, socket_address: SocketAddress) -> None:
        self.family = family
        self.socket_address = socket_address
        self.retires_at = inf
        self.failed = False


class Name:
    """A host and port, and what is known of its addresses. `known` includes those not yet retired."""

    __slots__ = ("addresses", "error", "is_queued", "known", "looked_up_at", "lookup", "turn", "used_at")

    def __init__(self, now: float) -> None:
        self.addresses: tuple[Address, ...] = ()
        self.known: dict[Found, Address] = {}
        self.error: Exception | None = None
        self.lookup: asyncio.Task[None] | None = None
        self.is_queued = False
        self.looked_up_at = self.used_at = now
        self.turn = 0

    def replace(self, found: Iterable[Found], now: float) -> None:
        """Make `found` the addresses of new connections. The others are retired unless they are found again in time."""
        self.known = {key: address for key, address in self.known.items() if address.retires_at > now}
        for address in self.known.values():
            address.retires_at = min(address.retires_at, now + RETIRE_SECONDS)
        current = []
        for key in dict.fromkeys(found):
            address = self.known.setdefault(key, Address(*key))
            address.retires_at = inf
            current.append(address)
        self.addresses = tuple(current)


class NameTable:
    """The names in use. There is one lookup at a time for each; only the first use of a name waits for it.

    Each lookup has a thread, so that names whose servers do not answer delay no others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, lookup: Lookup | None = None) -> None:
        self._clock = clock
        self._lookup = lookup or partial(look_up, ThreadPool("names"))
        self._names: dict[tuple[str, int], Name] = {}
        self._lookups = TaskSet()
        self._refreshes = asyncio.Semaphore(REFRESHES_AT_ONCE)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def addresses(self, host: str, port: int) -> list[Address]:
        """The addresses to attempt, in order. Raises OSError or UnicodeError if none are known and the lookup fails."""
        literal = literal_address(host, port)
        if literal is not None:
            return [literal]
        name = self._names.get((host, port))
        if name is None:
            name = self._names[host, port] = Name(self._clock())
            self._set_timer()
        if not name.addresses:
            await asyncio.shield(self._start_lookup(host, port, name))  # others may wait for it too
            if not name.addresses:
                raise name.error or socket.gaierror(socket.EAI_NONAME, "no addresses")
        name.used_at = self._clock()
        name.turn += 1
        return attempt_order(name.addresses, name.turn - 1)

    def expedite(self, host: str, port: int) -> asyncio.Task[None] | None:
        """Look the name up now if it is known and its last lookup is not recent."""
        name = self._names.get((host, port))
        if name is None or (name.lookup is None and self._clock() - name.looked_up_at < RENEW_SECONDS):
            return None
        return self._start_lookup(host, port, name)

    async def renew(self, host: str, port: int) -> bool:
        """Like `expedite`, and wait for it. Returns whether the name has an address that it did not have before."""
        name, lookup = self._names.get((host, port)), self.expedite(host, port)
        if name is None or lookup is None:
            return False
        before = name.addresses
        await asyncio.shield(lookup)
        return not set(before).issuperset(name.addresses)

    def refresh(self) -> None:
        """Look up every name in use in the background, and drop the others."""
        now = self._clock()
        for (host, port), name in list(self._names.items()):
            if now - name.used_at >= FORGET_SECONDS:
                del self._names[host, port]
            elif not name.is_queued:
                name.is_queued = True
                self._lookups.create(self._refresh(host, port, name))

    async def close(self) -> None:
        """Stop looking up names in the background."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self._lookups.cancel_and_wait()

    def _set_timer(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(REFRESH_SECONDS, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.refresh()
        if self._names:
            self._set_timer()

    async def _refresh(self, host: str, port: int, name: Name) -> None:
        async with self._refreshes:
            name.is_queued = False
            for address in name.addresses:
                address.failed = False
            await asyncio.shield(self._start_lookup(host, port, name))

    def _start_lookup(self, host: str, port: int, name: Name) -> asyncio.Task[None]:
        if name.lookup is None:
            name.lookup = self._lookups.create(self._look_up(host, port, name))
        return name.lookup

    async def _look_up(self, host: str, port: int, name: Name) -> None:
        """Replace the name's addresses, or keep them if the lookup fails. Failures are not kept."""
        try:
            found = list(await self._lookup(host, port))
            if found:
                name.replace(found, self._clock())
        except (OSError, UnicodeError) as error:
            name.error = error
        finally:
            name.lookup = None
            name.looked_up_at = self._clock()
            if not name.addresses and self._names.get((host, port)) is name:
                del self._names[host, port]


async def look_up(threads: ThreadPool, host: str, port: int) -> list[Found]:
    """The addresses that the system's resolver returns, in the order of RFC 6724. It runs on one of `threads`: uvloop's
    own getaddrinfo makes two lookups at a time, for which Redis and all others would wait.
    """
    question = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(threads, question)
    families = (socket.AF_INET, socket.AF_INET6)
    return [(family, cast(SocketAddress, address)) for family, _, _, _, address in found if family in families]


def literal_address(host: str, port: int) -> Address | None:
    """The address that `host` is, or None for a name. Addresses with a scope are left to the system."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    if version == 4:
        return Address(socket.AF_INET, (host, port))
    return None if "%" in host else Address(socket.AF_INET6, (host, port, 0, 0))


def attempt_order(addresses: Sequence[Address], turn: int) -> list[Address]:
    """The families alternate, beginning with the first address's (RFC 8305 section 4); those that failed are last.

    Each turn begins at another address of a family, so that connections are spread over them.
    """
    first = addresses[0].family
    preferred = [address for address in addresses if address.family == first]
    others = [address for address in addresses if address.family != first]
    pairs = zip_longest(_rotated(preferred, turn), _rotated(others, turn))
    mixed = [address for pair in pairs for address in pair if address is not None]
    return sorted(mixed, key=lambda address: address.failed)[:MAX_ADDRESSES]


def _rotated(addresses: list[Address], turn: int) -> list[Address]:
    start = turn % len(addresses) if addresses else 0
    return addresses[start:] + addresses[:start]
