"""A bounded memo in two generations that admits keys on their second use."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from resilience.doorkeeper import Doorkeeper

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TwoGenerationMemo(Generic[K, V]):
    """Two generations of at most `size` keys. A key that is used moves to the younger one, so that a flood of different
    keys evicts only unused ones. A key is admitted on its second `put`, since storing and evicting a key that is used
    once would take longer than computing its value.

    `young` is the younger generation, for hot paths that look up without a method call.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._doorkeeper = Doorkeeper(size)
        self.young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        value = self.young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self._admit(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Store `value`, from the second `put` of `key` on."""
        if self._doorkeeper.seen_before(key):
            self._admit(key, value)

    def clear(self) -> None:
        self.young, self._old = {}, {}

    def _admit(self, key: K, value: V) -> None:
        if len(self.young) >= self._size:
            self.young, self._old = {}, self.young
        self.young[key] = value
