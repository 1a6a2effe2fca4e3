"""What was worked out before, so that it need not be again: bounded by number, and only of what comes again."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from resilience.doorkeeper import Doorkeeper

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TwoGenerationMemo(Generic[K, V]):
    """In two generations of at most `size`, the younger taking up what is used of the elder: whoever asks for many
    different things pushes out what nobody asks for, and nothing else. What comes once is not kept at all: to keep it,
    and to let it go, would take longer than to work it out.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._doorkeeper = Doorkeeper(size)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self._put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """From the second time on that it is to be kept."""
        if self._doorkeeper.again(key):
            self._put(key, value)

    def clear(self) -> None:
        self._young, self._old = {}, {}

    def _put(self, key: K, value: V) -> None:
        if len(self._young) >= self._size:
            self._young, self._old = {}, self._young
        self._young[key] = value
