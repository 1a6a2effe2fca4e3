"""What an unknown key was probably meant to be. Pure."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

MAX_LENGTH: Final = 64
"""Characters of a key that are compared."""


def suggestion(key: str, known: Iterable[str], inner: Mapping[str, str]) -> str:
    """The end of a message about an unknown key: the known one that is nearest to it, or all of them.

    `inner` are the keys of sections, with what is to be written for each, such as `cache: {ttl: ...}`.
    """
    names = list(known)
    written = key[:MAX_LENGTH].strip().lower().replace("-", "_")
    if written in inner and written not in names:
        return f" (did you mean {inner[written]!r}?)"
    swapped = (name for name in names if sorted(name) == sorted(written))
    nearest = next(swapped, None) or next(iter(get_close_matches(written, names, n=1)), None)
    return f" (did you mean {nearest!r}?)" if nearest else f" (known: {', '.join(names)})"


def inner_keys(sections: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Where the keys of sections are written. Of a key that several have, the first of these."""
    found: dict[str, str] = {}
    for section, keys in sections.items():
        for key in keys:
            found.setdefault(key, f"{section}: {{{key}: ...}}")
    return found
