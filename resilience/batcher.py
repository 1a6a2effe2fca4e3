"""Questions to Redis that come while others are out: asked together, since a round trip costs the same for many."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import chain
from typing import Final, Generic, TypeVar

from resilience.task_set import TaskSet

TOGETHER: Final = 32
"""Questions in one round trip: should each bring the largest body there may be, the rest still wait for less than a
call may take."""
AT_A_TIME: Final = 2
"""Round trips of one group under way at once; one that brings large bodies does not hold up the others."""

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class Batcher(Generic[Question, Answer]):
    """One kind of question. `ask` answers several of one group, in their order, or raises what each of those who wait
    is to see. Those of two groups never go together: in a Redis Cluster they may be for different servers.
    """

    def __init__(self, ask: Callable[[str, Sequence[Question]], Awaitable[Sequence[Answer]]]) -> None:
        self._ask = ask
        self._groups: dict[str, _Group[Question, Answer]] = {}

    async def submit(self, group: str, question: Question) -> Answer:
        """Equal questions that go together are asked once."""
        own = self._groups.get(group)
        if own is None:
            own = self._groups[group] = _Group()
        waiter: asyncio.Future[Answer] = own.loop.create_future()
        own.waiting.setdefault(question, []).append(waiter)
        if len(own.asking) < AT_A_TIME:
            own.asking.create(self._until_none_wait(group, own))
        return await waiter

    async def _until_none_wait(self, group: str, own: "_Group[Question, Answer]") -> None:
        """Each round trip takes along whoever waits by then: what it finds is never older than the wish for it."""
        while own.waiting:
            questions = list(own.waiting)[:TOGETHER]
            batch = [own.waiting.pop(question) for question in questions]
            try:
                answers = await self._ask(group, questions)
            except Exception as error:  # noqa: BLE001 - theirs who wait
                _fail(batch, error)
            except BaseException:
                _fail(batch, asyncio.CancelledError())
                raise
            else:
                _tell(batch, answers)
        # At once, and not when it is told of its end: whoever asks in between would wait for a round trip that is over.
        own.asking.discard(asyncio.current_task())


class _Group(Generic[Question, Answer]):
    """Who waits for which answer, and the round trips under way."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiting: dict[Question, list[asyncio.Future[Answer]]] = {}
        self.asking = TaskSet()


def _tell(batch: list[list[asyncio.Future[Answer]]], answers: Sequence[Answer]) -> None:
    for waiters, answer in zip(batch, answers, strict=True):
        for waiter in waiters:
            if not waiter.done():  # whoever waited may have gone
                waiter.set_result(answer)


def _fail(batch: list[list[asyncio.Future[Answer]]], error: BaseException) -> None:
    for waiter in chain.from_iterable(batch):
        if not waiter.done():
            waiter.set_exception(error)
