"""What is worth keeping: what is asked for again, so that a scan of many things pushes out none of the others.

The doorkeeper of TinyLFU (Einziger, Friedman and Manes, ACM Transactions on Storage 13(4), 2017), with what was asked
for lately in place of their counts.
"""

from collections.abc import Hashable


class Doorkeeper:
    """Remembers what was asked for: the last `span` things, and at most twice as many. A hash that two of them share
    lets one in that was asked for once, which does no harm.
    """

    __slots__ = ("_old", "_span", "_young")

    def __init__(self, span: int) -> None:
        self._span = span
        self._young: set[int] = set()
        self._old: set[int] = set()

    def seen_before(self, key: Hashable) -> bool:
        """Whether the key has been asked for lately. It has been now."""
        name = hash(key)
        known = name in self._young or name in self._old
        self._young.add(name)
        if len(self._young) >= self._span:
            self._young, self._old = set(), self._young
        return known
