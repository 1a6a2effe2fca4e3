"""Values as JSON: only those that it gives back as they were."""

import json
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def as_json(value: T) -> T:
    """The value as JSON gives it back. Raises TypeError or ValueError."""
    again: T = msgspec.json.decode(encode(value))
    return again


def encode(value: Any) -> bytes:
    """Raises TypeError or ValueError for what JSON would not give back: it has neither dates nor other names than
    strings, and writing them as strings would give back another value than was stored.
    """
    try:
        body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            for name in current:
                if not isinstance(name, str):
                    raise TypeError(f"the names in a JSON object are strings, not {type(name).__name__}: {name!r}")
            pending += current.values()
        elif isinstance(current, list | tuple):
            pending += current
    return body
