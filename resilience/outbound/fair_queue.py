"""A queue that serves its callers in turn, and each caller in the order of arrival. No clock, no I/O."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """The caller that is served goes to the end of the line; one that has nothing left leaves it."""

    __slots__ = ("_callers", "_size")

    def __init__(self) -> None:
        self._callers: OrderedDict[str, deque[T]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, caller: str, item: T) -> None:
        self._callers.setdefault(caller, deque()).append(item)
        self._size += 1

    def take(self) -> T:
        """The next item. Raises LookupError if there is none."""
        caller, items = next(iter(self._callers.items()), ("", None))
        if items is None:
            raise LookupError("the queue is empty")
        item = items.popleft()
        self._size -= 1
        self._callers.move_to_end(caller)
        if not items:
            del self._callers[caller]
        return item

    def remove(self, caller: str, item: T) -> None:
        """Remove an item, if it is still in the queue."""
        items = self._callers.get(caller)
        if items is None or item not in items:
            return
        items.remove(item)
        self._size -= 1
        if not items:
            del self._callers[caller]

    def position(self, caller: str) -> int:
        """How many items would be served before the next one of `caller`."""
        own = len(self._callers.get(caller, ()))
        return sum(min(len(items), own + 1) for name, items in self._callers.items() if name != caller) + own
