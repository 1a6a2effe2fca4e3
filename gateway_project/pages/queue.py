"""Admission to Django: a bound on its requests in progress, and a queue that gives each client its share (ADR 19)."""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from typing import Final

from gateway_project.pages.budget import PageBudget
from routing.errors import Overloaded

MAX_RUNNING: Final = 32
"""Requests in Django's threads, of one worker. Most of them wait for their turn, for a database or for a backend."""
MAX_RUNNING_PER_CLIENT: Final = 8
MAX_WAITING: Final = 1_024
MAX_WAITING_PER_CLIENT: Final = 256
QUEUE_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 5.0
RECHECK_SECONDS: Final = 1.0
"""How often it is checked whether a client that waits for its budget may run."""


class PageQueue:
    """The queue of one worker. Call `try_enter` or `enter` before a request, and `leave` after it.

    Clients take turns in the queue. A client that has used up its `budget` waits there until it has some again: if it
    were refused, it would repeat the request at once.
    """

    def __init__(
        self,
        budget: PageBudget | None = None,
        *,
        running: int = MAX_RUNNING,
        per_client: int = MAX_RUNNING_PER_CLIENT,
        waiting: int = MAX_WAITING,
        waiting_per_client: int = MAX_WAITING_PER_CLIENT,
        seconds: float = QUEUE_SECONDS,
    ) -> None:
        self._budget = PageBudget(time.monotonic) if budget is None else budget
        self._limit, self._client_limit = running, per_client
        self._queue_limit, self._client_queue_limit = waiting, waiting_per_client
        self._seconds = seconds
        self._in_progress = 0
        self._running = Counter[str]()
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    def try_enter(self, client: str) -> bool:
        """Take a slot, if one is free for `client`."""
        if client in self._queues or not self._has_slot(client) or self._budget.wait(client):
            return False
        self._take(client)
        return True

    async def enter(self, client: str) -> None:
        """Take a slot, or wait for one. Raises Overloaded when the queue is full or too slow."""
        if self.try_enter(client):
            return
        if self._waiting >= self._queue_limit or len(self._queues.get(client, ())) >= self._client_queue_limit:
            raise _overloaded()
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(client, deque()).append(slot)
        self._waiting += 1
        self._admit()
        try:
            async with asyncio.timeout(self._seconds):
                await slot
        except BaseException as error:
            self._withdraw(client, slot)
            if isinstance(error, TimeoutError):
                raise _overloaded() from None
            raise

    def leave(self, client: str, seconds: float | None = None) -> None:
        """Release the slot, to the next client in the queue.

        `seconds` is the processor time to charge to `client`: 0 if its request was authenticated, None if it had none.
        """
        self._in_progress -= 1
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]
        if seconds:
            self._budget.charge(client, seconds)
        elif seconds is not None:
            self._budget.recognise(client)
        self._admit()

    def _has_slot(self, client: str) -> bool:
        return self._in_progress < self._limit and self._running[client] < self._client_limit

    def _take(self, client: str) -> None:
        self._in_progress += 1
        self._running[client] += 1

    def _admit(self) -> None:
        """Give free slots to one request of each client that may run. Also called when a waiting client's budget allows
        it.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = []
        for client in list(self._queues):
            if not self._has_slot(client):
                continue
            wait = self._budget.wait(client)
            if wait:
                waits.append(wait)
                continue
            self._take_out(client, self._queues[client][0]).set_result(None)
            self._take(client)
            if client in self._queues:
                self._queues.move_to_end(client)
        if waits:
            self._timer = asyncio.get_running_loop().call_later(min(*waits, RECHECK_SECONDS), self._admit)

    def _withdraw(self, client: str, slot: "asyncio.Future[None]") -> None:
        if slot.done() and not slot.cancelled():  # the slot was given in the same moment
            self.leave(client)
        else:
            self._take_out(client, slot)

    def _take_out(self, client: str, slot: "asyncio.Future[None]") -> "asyncio.Future[None]":
        queue = self._queues[client]
        queue.remove(slot)
        self._waiting -= 1
        if not queue:
            del self._queues[client]
        return slot


def _overloaded() -> Overloaded:
    return Overloaded("too many requests for pages are in progress", retry_after=RETRY_SECONDS)
