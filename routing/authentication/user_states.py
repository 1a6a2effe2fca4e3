"""Whether the users of tokens are disabled, deleted, or had their tokens revoked, as their provider says."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple

import msgspec

from routing.authentication.key_waits import unavailable
from routing.errors import InvalidToken

CHECK_SECONDS: Final = 60.0
"""How long a user's state is used before it is looked up again, and so how late a revocation may take effect."""
STALE_SECONDS: Final = 600.0
"""How long the last state is used while the provider is away. After that, and for users that are not known,
verification is unavailable: it fails closed.
"""
RETRY_SECONDS: Final = 2.0
"""The time between two lookups while they fail."""
TIMEOUT_SECONDS: Final = 5.0
"""The time limit of one lookup, its time in the queue included."""
THREADS: Final = 8
MAX_PENDING: Final = 256
"""Lookups in progress or queued. Beyond that, verification is unavailable."""
MAX_USERS: Final = 10_000


class User(NamedTuple):
    uid: str
    tenant: str | None


class UserState(msgspec.Struct, frozen=True):
    """Tokens that were issued before `valid_after`, in Unix time, are revoked. Deleted users do not exist."""

    exists: bool = True
    disabled: bool = False
    valid_after: float = 0.0


class UserStates:
    """`look_up` blocks, is called in a thread, and raises whatever it likes if the provider is away.

    One lookup for each user at a time, whatever the number of its tokens.
    """

    def __init__(self, look_up: Callable[[User], UserState], clock: Callable[[], float]) -> None:
        self._look_up: Final = look_up
        self._clock: Final = clock
        self._threads: Final = ThreadPoolExecutor(THREADS, thread_name_prefix="users")
        self._known: Final[OrderedDict[User, tuple[UserState, float]]] = OrderedDict()
        self._pending: Final[dict[User, Future[UserState]]] = {}
        self._failed_at: float | None = None

    async def check(self, user: User, issued_at: float) -> None:
        """Raise InvalidToken for a token of a user that may not use it any more, or AuthenticationUnavailable."""
        state = await self._state(user)
        if not state.exists:
            raise InvalidToken("the token's user does not exist")
        if state.disabled:
            raise InvalidToken("the token's user is disabled")
        if issued_at < state.valid_after:
            raise InvalidToken("the token was revoked")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _state(self, user: User) -> UserState:
        known = self._known.get(user)
        age = None if known is None else self._clock() - known[1]
        if known is not None and age is not None and 0 <= age < CHECK_SECONDS:
            self._known.move_to_end(user)
            return known[0]
        try:
            return await self._fetch(user)
        except Exception:  # noqa: BLE001 - whatever it is, the user's state is not known
            if known is None or age is None or not 0 <= age < STALE_SECONDS:
                raise unavailable() from None
            return known[0]

    async def _fetch(self, user: User) -> UserState:
        """Raises an exception of any kind without an answer in time."""
        lookup = self._pending.get(user)
        if lookup is None:
            now = self._clock()
            if self._failed_at is not None and 0 <= now - self._failed_at < RETRY_SECONDS:
                raise unavailable()
            if len(self._pending) >= MAX_PENDING:
                raise unavailable()
            lookup = self._pending[user] = self._threads.submit(self._look_up, user)
            loop = asyncio.get_running_loop()
            lookup.add_done_callback(partial(self._end_on, loop, user))
        # Shielded, since other tokens may be waiting for the same user.
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(lookup)), TIMEOUT_SECONDS)

    def _end_on(self, loop: asyncio.AbstractEventLoop, user: User, lookup: Future[UserState]) -> None:
        """Called in the lookup's thread, perhaps once the process ends and the loop is closed."""
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._end, user, lookup)

    def _end(self, user: User, lookup: Future[UserState]) -> None:
        self._pending.pop(user, None)
        if lookup.cancelled() or lookup.exception() is not None:
            self._failed_at = self._clock()
            return
        self._failed_at = None
        self._known[user] = lookup.result(), self._clock()
        self._known.move_to_end(user)
        if len(self._known) > MAX_USERS:
            self._known.popitem(last=False)
