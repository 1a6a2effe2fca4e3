"""Opens TCP connections to targets by name, to several of its addresses in parallel (RFC 8305)."""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from routing.backend.names import Address, NameTable
from routing.backend.reasons import CONNECT_TIMEOUT, LOOKUP_TIMEOUT, OWN_LIMITS, TOTAL_TIMEOUT, failure_reason
from routing.errors import BadGateway, Overloaded, UpstreamTimeout

STAGGER_SECONDS: Final = 0.25
"""Between the starts of two attempts, unless one fails earlier (RFC 8305 section 5, Connection Attempt Delay)."""

Connect = Callable[[Address], Coroutine[Any, Any, socket.socket]]


class Dialer:
    """Shared by all clients of backends, with one table of names."""

    def __init__(self, names: NameTable) -> None:
        self._names = names

    async def connect(self, host: str, port: int) -> tuple[Address, socket.socket]:
        """A connected socket, without time limit. Raises OSError or UnicodeError.

        If no known address accepts a connection, the name is looked up again, and new addresses are attempted.
        """
        addresses = await self._look_up(host, port)
        try:
            return await first_connected(addresses)
        except OSError:
            if not await self._names.renew(host, port):
                raise
        except asyncio.CancelledError:
            self._names.expedite(host, port)  # for the next: most often, it took too long
            raise
        return await first_connected(await self._names.addresses(host, port))

    async def _look_up(self, host: str, port: int) -> list[Address]:
        """The addresses to attempt. A cancellation meanwhile says so to `connecting`, whose time limit it may be."""
        try:
            return await self._names.addresses(host, port)
        except asyncio.CancelledError as error:
            error.args = (LOOKUP_TIMEOUT,)
            raise

    async def close(self) -> None:
        """Stop looking up names in the background."""
        await self._names.close()


@asynccontextmanager
async def connecting(seconds: float, deadline: float) -> AsyncIterator[None]:
    """Limit the opening of a connection to `seconds`, and to `deadline` in the event loop's time.

    Raises UpstreamTimeout, or BadGateway in place of OSError and UnicodeError, both with `unsent`; Overloaded where the
    gateway itself is at a limit.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(min(loop.time() + seconds, deadline)):
            yield
    except TimeoutError as error:
        reached = LOOKUP_TIMEOUT if _was_looking_up(error) else CONNECT_TIMEOUT
        raise UpstreamTimeout(reached if loop.time() < deadline else TOTAL_TIMEOUT, unsent=True) from error
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in OWN_LIMITS:
            detail = "the gateway cannot open a connection to the service at the moment"
            raise Overloaded(detail, retry_after=1.0, reason=failure_reason(error)) from error
        raise BadGateway(failure_reason(error), unsent=True) from error


def _was_looking_up(error: TimeoutError) -> bool:
    """Whether the time limit ended a lookup. Its cause is the cancellation."""
    return error.__cause__ is not None and error.__cause__.args == (LOOKUP_TIMEOUT,)


async def open_socket(address: Address) -> socket.socket:
    """Connect to one address. Raises OSError."""
    connection = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, address.socket_address)
    except BaseException:
        connection.close()
        raise
    return connection


async def first_connected(
    addresses: Sequence[Address], connect: Connect = open_socket, stagger: float = STAGGER_SECONDS
) -> tuple[Address, socket.socket]:
    """The first attempt to succeed; the others are abandoned. Raises the first error if all fail.

    When it is cancelled, as by a time limit, the next call attempts other addresses first: all but the latest of these
    have had their time.
    """
    if len(addresses) == 1:
        return addresses[0], await connect(addresses[0])
    attempts: dict[asyncio.Task[socket.socket], Address] = {}
    waiting = deque(addresses)
    errors: list[BaseException] = []
    try:
        while waiting or attempts:
            if waiting:
                address = waiting.popleft()
                attempts[asyncio.create_task(connect(address))] = address
            timeout = stagger if waiting else None
            done, _ = await asyncio.wait(attempts, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    return _winner(attempts, task)
                attempts.pop(task).failed = True
                errors.append(error)
        raise errors[0]
    except asyncio.CancelledError:
        _attempt_last(list(attempts.values())[:-1])
        raise
    finally:
        for task in attempts:
            task.add_done_callback(_close_socket)
            task.cancel()


def _winner(
    attempts: dict[asyncio.Task[socket.socket], Address], task: asyncio.Task[socket.socket]
) -> tuple[Address, socket.socket]:
    """Take the attempt out of `attempts`, whose addresses were slower though they were not started later."""
    earlier = list(attempts)
    _attempt_last(attempts[slower] for slower in earlier[: earlier.index(task)])
    address = attempts.pop(task)
    address.failed = False
    return address, task.result()


def _attempt_last(addresses: Iterable[Address]) -> None:
    """The next connections attempt these addresses after all others."""
    for address in addresses:
        address.failed = True


def _close_socket(attempt: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that succeeded too late."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
