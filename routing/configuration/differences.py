"""Differences of two structures by JSON pointer (RFC 6901). Pure."""

import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any, Final

import msgspec

from routing.configuration.faults import Path

MAX_ALIGNED: Final = 2_000
"""The longest list whose added and removed items are found: the time for it grows with the square of the length."""
ABSENT: Final = object()
"""Stands for a value that is not there."""


class Difference(msgspec.Struct, frozen=True):
    """A value that differs. None stands for one that is not there."""

    pointer: str
    old: Any
    new: Any


def pointer(path: Path) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def differences(old: Any, new: Any, path: Path = ()) -> Iterator[Difference]:
    """The innermost values that differ, in the order of the structures."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _of_lists(old, new, path)
    elif _text(old) != _text(new):
        yield Difference(pointer(path), _shown(old), _shown(new))


def _of_lists(old: list[Any], new: list[Any], path: Path) -> Iterator[Difference]:
    """Items are aligned, so that one that is inserted does not make all that follow differ.

    Pointers are those in `new`; of removed items those in `old`.
    """
    if len(old) == len(new):
        yield from _pairs(old, new, path, 0)
    elif max(len(old), len(new)) > MAX_ALIGNED:
        yield Difference(pointer(path), old, new)
    else:
        blocks = SequenceMatcher(None, [_text(item) for item in old], [_text(item) for item in new], autojunk=False)
        for kind, start, end, begin, stop in blocks.get_opcodes():
            if kind != "equal":
                yield from _of_block(old[start:end], new[begin:stop], path, start, begin)


def _pairs(old: list[Any], new: list[Any], path: Path, first: int) -> Iterator[Difference]:
    for index, (before, after) in enumerate(zip(old, new, strict=False), first):
        yield from differences(before, after, (*path, index))


def _of_block(old: list[Any], new: list[Any], path: Path, start: int, begin: int) -> Iterator[Difference]:
    """Items that replace others, then those that are removed or added. The blocks begin at `start` and `begin`."""
    common = min(len(old), len(new))
    yield from _pairs(old, new, path, begin)
    for index, item in enumerate(old[common:], start + common):
        yield Difference(pointer((*path, index)), item, None)
    for index, item in enumerate(new[common:], begin + common):
        yield Difference(pointer((*path, index)), None, item)


def is_equal(left: Any, right: Any) -> bool:
    """Whether two values of configurations are equal. ABSENT is equal to itself alone."""
    return (left is ABSENT) == (right is ABSENT) and _text(left) == _text(right)


def _shown(value: Any) -> Any:
    return None if value is ABSENT else value


def _text(value: Any) -> str:
    """A text for comparison: in Python `1 == True`, in a configuration they differ."""
    return "" if value is ABSENT else json.dumps(value, sort_keys=True)
