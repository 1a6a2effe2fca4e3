"""Which tag was taken back last at which number, in bounded memory."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

MAX_FENCED_TAGS: Final = 4_096
"""Tags remembered for one service. Beyond it the oldest is forgotten, and the floor raised to its number: then
an answer that began before the floor is refused whatever its tags. A mistake on the safe side, and a rare one: it
takes this many tags taken back while one answer is being fetched."""


class Fences:
    """One service's invalidations. A number for each tag, since with one for all a busy tag would starve the others:
    an answer that takes longer than the pause between two invalidations would never be stored.
    """

    __slots__ = ("_floor", "_tags", "latest")

    def __init__(self) -> None:
        self.latest = 0
        self._floor = 0
        self._tags: OrderedDict[str, int] = OrderedDict()

    def record(self, tag: str, seq: int) -> None:
        """`tag` was taken back at number `seq`."""
        self.latest = max(self.latest, seq)
        self._tags[tag] = max(seq, self._tags.pop(tag, 0))
        if len(self._tags) > MAX_FENCED_TAGS:
            self._floor = max(self._floor, self._tags.popitem(last=False)[1])

    def allows(self, tags: Iterable[str], seq: int) -> bool:
        """May an answer with these tags, whose fetching began at number `seq`, be kept?"""
        if seq >= self.latest:
            return True
        return seq >= self._floor and all(self._tags.get(tag, 0) <= seq for tag in tags)
