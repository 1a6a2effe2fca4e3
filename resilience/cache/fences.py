"""Fences: the number of each tag's latest invalidation, in bounded memory."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

MAX_FENCED_TAGS: Final = 4_096
"""Tags remembered per service. Beyond it the oldest is dropped and the floor is raised to its number: responses fetched
since before the floor are then refused whatever their tags. That is safe, and rare: this many tags must be invalidated
during one fetch.
"""


class Fences:
    """One service's invalidations, numbered per tag: with one number for all, no response that takes longer than the
    time between two invalidations of any tag would ever be stored.
    """

    __slots__ = ("_floor", "_tags", "latest")

    def __init__(self) -> None:
        self.latest = 0
        self._floor = 0
        self._tags: OrderedDict[str, int] = OrderedDict()

    def record(self, tag: str, seq: int) -> None:
        """Note that `tag` was invalidated at number `seq`."""
        self.latest = max(self.latest, seq)
        self._tags[tag] = max(seq, self._tags.pop(tag, 0))
        if len(self._tags) > MAX_FENCED_TAGS:
            self._floor = max(self._floor, self._tags.popitem(last=False)[1])

    def allows(self, tags: Iterable[str], seq: int) -> bool:
        """Whether a response with these tags, whose fetch began at number `seq`, may be stored."""
        if seq >= self.latest:
            return True
        return seq >= self._floor and all(self._tags.get(tag, 0) <= seq for tag in tags)
