"""Takes one change back from a structure that may have changed since. Pure."""

from collections.abc import Callable, Hashable
from typing import Any, Final

from routing.configuration.differences import ABSENT, is_equal, pointer
from routing.configuration.faults import Path

_KEYS: Final[dict[str, Callable[[dict[str, Any]], Hashable]]] = {
    "routes": lambda route: (str(route.get("path")), tuple(route.get("methods") or ())),
    "targets": lambda target: str(target.get("url")),
}
"""The key that identifies the items of each of these lists."""


class Conflict(Exception):
    """What the change has made was changed again since, at these JSON pointers."""

    def __init__(self, pointers: list[str]) -> None:
        super().__init__(", ".join(pointers))
        self.pointers = tuple(pointers)


def take_back(before: Any, after: Any, current: Any, path: Path = ()) -> Any:
    """`current` without the change from `before` to `after`. ABSENT stands for what is not there. Raises Conflict."""
    conflicts: list[str] = []
    result = _merge(before, after, current, path, conflicts)
    if conflicts:
        raise Conflict(conflicts)
    return result


def _merge(before: Any, after: Any, current: Any, path: Path, conflicts: list[str]) -> Any:
    if is_equal(current, after) or is_equal(current, before):
        return before
    if is_equal(before, after):
        return current
    if all(isinstance(value, dict) for value in (before, after, current)):
        return _of_mappings(before, after, current, path, conflicts)
    key = _KEYS.get(str(path[-1])) if path else None
    if key is not None and all(isinstance(value, list) for value in (before, after, current)):
        old, new, present = ({key(item): item for item in value} for value in (before, after, current))
        if [len(old), len(new), len(present)] == [len(before), len(after), len(current)]:
            merged = _of_mappings(old, new, present, path, conflicts)
            return [merged[name] for name in _order([*old], [*new], [*present]) if name in merged]
    conflicts.append(pointer(path))
    return current


def _of_mappings(before: Any, after: Any, current: Any, path: Path, conflicts: list[str]) -> dict[Any, Any]:
    names = [*current, *(name for name in before if name not in current)]
    merged = {}
    for name in names:
        step = name if isinstance(name, str) else " ".join(str(part) for part in name[:1])
        old, new, present = (each.get(name, ABSENT) for each in (before, after, current))
        merged[name] = _merge(old, new, present, (*path, step), conflicts)
    return {name: value for name, value in merged.items() if value is not ABSENT}


def _order(before: list[Hashable], after: list[Hashable], current: list[Hashable]) -> list[Hashable]:
    """The order of `before` if nothing was moved since; otherwise the present order, in which a restored item follows
    its former neighbour.
    """
    if current == after:
        return before
    order = list(current)
    for index, name in enumerate(before):
        if name not in order:
            place = order.index(before[index - 1]) + 1 if index and before[index - 1] in order else 0
            order.insert(place, name)
    return order
