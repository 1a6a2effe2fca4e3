"""Outbound limits as one worker applies them. The limiter counts for all workers; each worker has its own queues."""

import asyncio
from collections.abc import Callable
from typing import Final

from resilience.outbound.fair_queue import FairQueue
from resilience.outbound.policy import OutboundPolicy
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.window import Decision
from resilience.task_set import TaskSet

MAX_QUEUED: Final = 1_000
"""The most calls in one queue."""
MIN_PAUSE_SECONDS: Final = 0.01
"""The least time between two attempts to get a token, whatever the limiter says."""

Waiter = asyncio.Future[Decision]


class OutboundLimited(Exception):
    """No call may be made in time; `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class _Queue:
    __slots__ = ("next_at", "waiting")

    def __init__(self) -> None:
        self.waiting: FairQueue[Waiter] = FairQueue()
        self.next_at = 0.0
        """When the next token is expected, by the event loop's clock."""


class OutboundLimiter:
    """`limiter` counts the calls that are made, under keys of their own."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._queues: dict[str, _Queue] = {}
        self._tasks = TaskSet()

    async def enter(self, key: str, policy: OutboundPolicy, caller: str) -> Callable[[], None]:
        """Count a call, once it is its caller's turn. Returns what uncounts it, for a call that is not made.

        Raises OutboundLimited if the queue is full, or the wait longer than the policy's.
        """
        key = f"outbound:{policy.rate}:{key}"
        queue = self._queues.get(key)
        if queue is None:
            decision = await self._limiter.take(key, policy.rate)
            if not decision.allowed:
                decision = await self._queued(key, policy, caller, decision.reset)
        else:
            decision = await self._queued(key, policy, caller, queue.next_at - _now())
        return lambda: self._refund(key, decision)

    async def close(self) -> None:
        """End the queues; those who wait in them are cancelled with their requests."""
        await self._tasks.cancel_and_wait()

    def _refund(self, key: str, decision: Decision) -> None:
        self._tasks.create(self._limiter.refund(key, decision))

    async def _queued(self, key: str, policy: OutboundPolicy, caller: str, reset: float) -> Decision:
        """Wait for a turn. `reset` is the seconds until the next token."""
        queue = self._queues.get(key)
        before = queue.waiting.position(caller) if queue is not None else 0
        # A window has `limit` tokens: those before this call in the queue may need further windows.
        wait = max(0.0, reset) + before // policy.rate.limit * policy.rate.window
        if wait > policy.queue or (queue is not None and len(queue.waiting) >= MAX_QUEUED):
            raise OutboundLimited(wait)
        if queue is None:
            queue = self._queues[key] = _Queue()
            queue.next_at = _now() + reset
            self._tasks.create(self._serve(key, queue, policy))
        return await self._turn(key, queue, policy, caller)

    async def _turn(self, key: str, queue: _Queue, policy: OutboundPolicy, caller: str) -> Decision:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        queue.waiting.put(caller, waiter)
        try:
            async with asyncio.timeout(policy.queue):
                return await waiter
        except BaseException as error:
            queue.waiting.remove(caller, waiter)
            if waiter.done() and not waiter.cancelled():  # granted in the same moment
                self._refund(key, waiter.result())
            if isinstance(error, TimeoutError):
                raise OutboundLimited(max(0.0, queue.next_at - _now())) from None
            raise

    async def _serve(self, key: str, queue: _Queue, policy: OutboundPolicy) -> None:
        """Give the tokens to those who wait, as they become free, until nobody waits."""
        try:
            while len(queue.waiting):
                await asyncio.sleep(max(MIN_PAUSE_SECONDS, queue.next_at - _now()))
                while len(queue.waiting):
                    decision = await self._limiter.take(key, policy.rate)
                    if not decision.allowed:
                        queue.next_at = _now() + decision.reset
                        break
                    self._grant(key, queue, decision)
        finally:
            del self._queues[key]

    def _grant(self, key: str, queue: _Queue, decision: Decision) -> None:
        while len(queue.waiting):
            waiter = queue.waiting.take()
            if not waiter.done():
                waiter.set_result(decision)
                return
        self._refund(key, decision)


def _now() -> float:
    return asyncio.get_running_loop().time()
