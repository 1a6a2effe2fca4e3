"""Which answers a full memory takes in: those asked for again, so that a scan of many pushes out none of the others.

The doorkeeper of TinyLFU (Einziger, Friedman and Manes, ACM Transactions on Storage 13(4), 2017), with what was asked
for in place of their counts.
"""

from typing import Final

SPAN: Final = 8_192
"""Keys in one generation, of which there are two: about as many entries as the memory has. What is asked for less often
than that would have gone again before it was asked for."""


class Doorkeeper:
    """Remembers the keys of the last look-ups, at least `span` and at most twice as many."""

    def __init__(self, span: int = SPAN) -> None:
        self._span = span
        self._young: set[str] = set()
        self._old: set[str] = set()

    def again(self, key: str) -> bool:
        """Whether the key has been asked for lately. It has been now."""
        known = key in self._young or key in self._old
        self._young.add(key)
        if len(self._young) >= self._span:
            self._young, self._old = set(), self._young
        return known
