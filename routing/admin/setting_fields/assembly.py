"""Builds a section's value from the values of its fields, and takes it apart. Pure."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from routing.admin.setting_fields.base import UNSET
from routing.configuration.faults import Path

OPEN_FOR: Final = ("open_for",)
_SINGLE: Final = "base"
"""The key of `open_for` that may stand alone, without a mapping."""


def value_at(section: Any, path: Path) -> Any:
    """The value at `path` of a section, or UNSET."""
    section = _expanded(section)
    for step in path:
        if not isinstance(section, dict) or step not in section:
            return UNSET
        section = section[step]
    return section


def switch_of(section: Any) -> str:
    """`on`, `off`, or the empty text if the section is not set or has settings."""
    return {True: "on", False: "off"}.get(section, "") if isinstance(section, bool) else ""


def with_values(section: Any, switch: str, values: Mapping[Path, Any]) -> Any:
    """The section with these values; UNSET removes one. Other keys are kept. None if nothing is left.

    `off` leaves no settings.
    """
    if switch == "off":
        return False
    result = deepcopy(_expanded(section)) if isinstance(section, dict) else {}
    for path, value in values.items():
        _set(result, path, value)
    result = _collapsed(result)
    return result or (True if switch == "on" else None)


def _set(section: dict[str, Any], path: Path, value: Any) -> None:
    """Set or remove the value. A mapping that is empty then is removed too."""
    *steps, last = (str(step) for step in path)
    parents = [section]
    for step in steps:
        inner = parents[-1].get(step)
        parents.append(inner if isinstance(inner, dict) else {})
    if value is UNSET:
        parents[-1].pop(last, None)
    else:
        parents[-1][last] = value
    for step, parent, inner in reversed(list(zip(steps, parents, parents[1:], strict=False))):
        if inner:
            parent[step] = inner
        else:
            parent.pop(step, None)


def _expanded(section: Any) -> Any:
    """With `open_for` as a mapping, whatever it is written as."""
    if not isinstance(section, dict) or OPEN_FOR[0] not in section or isinstance(section[OPEN_FOR[0]], dict):
        return section
    return {**section, OPEN_FOR[0]: {_SINGLE: section[OPEN_FOR[0]]}}


def _collapsed(section: dict[str, Any]) -> dict[str, Any]:
    open_for = section.get(OPEN_FOR[0])
    if isinstance(open_for, dict) and open_for.keys() == {_SINGLE}:
        return {**section, OPEN_FOR[0]: open_for[_SINGLE]}
    return section
