"""Admission to a cache on the second use of a key, so that a scan of many keys evicts none that are used again.

This is TinyLFU's doorkeeper (Einziger, Friedman and Manes, ACM Transactions on Storage 13(4), 2017), with recency in
place of frequency counts.
"""

from collections.abc import Hashable


class Doorkeeper:
    """Remembers the hashes of at least the last `span` keys and at most twice as many. A hash collision admits a key on
    its first use, which does no harm.
    """

    __slots__ = ("_old", "_span", "_young")

    def __init__(self, span: int) -> None:
        self._span = span
        self._young: set[int] = set()
        self._old: set[int] = set()

    def seen_before(self, key: Hashable) -> bool:
        """Whether the key was seen recently. Records it."""
        name = hash(key)
        known = name in self._young or name in self._old
        self._young.add(name)
        if len(self._young) >= self._span:
            self._young, self._old = set(), self._young
        return known
