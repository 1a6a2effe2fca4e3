"""The parser of conditions: `{status, header, body}`, or a list of them. No Django, no I/O.

See routing/messages/conditions.py for what they mean.
"""

import re
from typing import Any, Final

from routing.configuration.faults import Faults
from routing.configuration.values import display, field_name, json_value, list_of, mapping, mapping_of
from routing.messages.conditions import Condition, Conditions, FieldCondition, FieldPath, HeaderCondition, scalar_key

MAX_CONDITIONS: Final = 64
MAX_FIELDS: Final = 16
MAX_VALUES: Final = 256
MAX_DEPTH: Final = 16
MAX_LENGTH: Final = 1_024
_STATUS_CLASS: Final = re.compile(r"([1-5])xx", re.IGNORECASE)
_FIELD_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
"""RFC 9110 section 5.5, of ASCII."""


def conditions(value: object) -> Conditions:
    """One condition, or a list of which any may hold."""
    if not isinstance(value, list | tuple):
        return Conditions((condition(value),))
    if len(value) > MAX_CONDITIONS:
        raise ValueError(f"must have at most {MAX_CONDITIONS} conditions")
    items: tuple[Condition, ...] = list_of(condition)(value)
    return Conditions(items)


def condition(value: object) -> Condition:
    """One condition, of which all parts must hold."""
    parts: dict[str, Any] = mapping_of({"status": _statuses, "header": _headers, "body": _fields})(value)
    if not any(parts.values()):
        raise ValueError("a condition needs a status, a header or a body")
    return Condition(parts.get("status", frozenset()), parts.get("header", ()), parts.get("body", ()))


def _statuses(value: object) -> frozenset[int]:
    statuses = frozenset[int]()
    for item in _listed(value):
        if isinstance(item, int) and not isinstance(item, bool) and 100 <= item <= 599:
            statuses |= {item}
        elif isinstance(item, str) and (form := _STATUS_CLASS.fullmatch(item)):
            statuses |= frozenset(range(int(form[1]) * 100, int(form[1]) * 100 + 100))
        else:
            raise ValueError(f"must be a status from 100 to 599, or a class such as 5xx, not {display(item)}")
    return statuses


def _headers(value: object) -> tuple[HeaderCondition, ...]:
    faults, items = Faults(), []
    for key, item in _limited(value):
        with faults.at(key):
            name = field_name(key).encode()
            if isinstance(item, bool):
                items.append(HeaderCondition(name, present=item))
            else:
                items.append(HeaderCondition(name, frozenset(_field_value(each) for each in _listed(item))))
    faults.raise_if_any()
    return tuple(sorted(items, key=lambda item: item.name))


def _field_value(value: object) -> bytes:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if len(text) > MAX_LENGTH or _FIELD_VALUE.fullmatch(text) is None:
        raise ValueError(f"must be a header field's value, or true (present) or false (absent), not {display(value)}")
    return text.encode()


def _fields(value: object) -> tuple[FieldCondition, ...]:
    faults, items = Faults(), []
    for key, item in _limited(value):
        with faults.at(key):
            values = frozenset(_scalar(each) for each in _listed(item))
            items.append(FieldCondition(_field_path(key), values))
    faults.raise_if_any()
    return tuple(sorted(items, key=lambda item: item.path))


def _field_path(key: str) -> FieldPath:
    """`error.errors.0.reason`: keys, and indices of arrays from 0."""
    steps = tuple(key.split("."))
    if not all(steps) or len(steps) > MAX_DEPTH or len(key) > MAX_LENGTH:
        raise ValueError(f"must be a path such as error.errors.0.reason, of at most {MAX_DEPTH} steps")
    return steps


def _scalar(value: object) -> tuple[str, Any]:
    if isinstance(value, dict):
        raise ValueError("must be a value or a list of values; a nested field is written as a path such as error.code")
    key = scalar_key(json_value(value))
    if key is None:
        raise ValueError(f"must be a string, number, true, false or null, not {display(value)}")
    if isinstance(value, str) and len(value) > MAX_LENGTH:
        raise ValueError(f"must have at most {MAX_LENGTH} characters")
    return key


def _listed(value: object) -> list[object]:
    """The items of a list, or one value as a list."""
    items = list(value) if isinstance(value, list | tuple) else [value]
    if not 0 < len(items) <= MAX_VALUES:
        raise ValueError(f"must be one value or a list of 1 to {MAX_VALUES}")
    return items


def _limited(value: object) -> list[tuple[str, object]]:
    items = mapping(value)
    if not 0 < len(items) <= MAX_FIELDS:
        raise ValueError(f"must have 1 to {MAX_FIELDS} fields")
    return list(items.items())
