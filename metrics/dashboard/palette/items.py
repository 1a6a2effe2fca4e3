"""What the palette finds, and which of it first. Pure."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

import msgspec

MAX_QUERY: Final = 1_000
"""Characters of a query; more are ignored. A whole problem document has its place."""
MAX_WORDS: Final = 50
MAX_ITEMS: Final = 8
"""The most items that are shown of one group."""
MAX_CANDIDATES: Final = 20_000
"""The most items of one group that are compared with a query."""


class PaletteItem(msgspec.Struct, frozen=True):
    """`detail` is shown beside the title. Both are searched, and `words`, which are not shown."""

    title: str
    url: str
    detail: str = ""
    words: str = ""


class Group(msgspec.Struct, frozen=True):
    title: str
    items: Sequence[PaletteItem]


def tokens(query: str) -> list[str]:
    return query[:MAX_QUERY].casefold().split()[:MAX_WORDS]


def matching(candidates: Iterable[PaletteItem], wanted: Sequence[str], limit: int = MAX_ITEMS) -> list[PaletteItem]:
    """Items that have all of the words, those whose title begins with the first one first. Without words, the first."""
    if not wanted:
        return list(islice(candidates, limit))
    starts: list[PaletteItem] = []
    others: list[PaletteItem] = []
    for item in islice(candidates, MAX_CANDIDATES):
        title = item.title.casefold()
        text = f"{title} {item.detail} {item.words}".casefold()
        if all(word in text for word in wanted):
            found = starts if title.startswith(wanted[0]) else others
            found.append(item)
            if len(starts) == limit:
                break
    return [*starts, *others][:limit]
