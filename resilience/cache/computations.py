"""The computations of values that others wait for, on the gateway's event loop."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from resilience.cache.flights import Flight
from resilience.cache.store import UNFENCED


@dataclass(eq=False, slots=True)
class Computation:
    """The duty to compute a value that others wait for: ends with `fulfil` or `abandon`. The outcome is JSON.

    `flight` keeps other workers from computing the same value meanwhile. `needs` are those that it waits for.
    """

    name: str
    seq: int = UNFENCED
    flight: Flight | None = None
    needs: list["Computation"] = field(default_factory=list)
    outcome: asyncio.Future[bytes | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def waits_for(computation: Computation, own: Collection[Computation]) -> bool:
    """Whether a computation is one of `own`, or waits for one, if only by others that it waits for."""
    pending = [computation]
    while pending:
        current = pending.pop()
        if current in own:
            return True
        pending += current.needs
    return False


async def outcome_of(computation: Computation, own: Collection[Computation]) -> bytes | None:
    """Wait for the outcome, which `own` need. A waiter that is cancelled does not end it for the others."""
    for one in own:
        one.needs.append(computation)
    try:
        return await asyncio.shield(computation.outcome)
    finally:
        for one in own:
            one.needs.remove(computation)


def for_waiters(error: Exception) -> Exception:
    """The error that those who wait raise."""
    if not isinstance(error, StopIteration):
        return error
    raised = RuntimeError("the computation raised StopIteration")  # a future cannot hold that, nor a coroutine raise it
    raised.__cause__ = error
    return raised
