"""Parses JSON that everybody reads in the same way: without duplicate keys, NaN and unpaired surrogates (RFC 8259)."""

import json
import math
from typing import Any, Final

from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.values import display
from routing.configuration.yaml_events import DEPTH

MAX_DIGITS: Final = 400
"""The most digits of an integer; a double has no more."""


def parse_json(content: bytes, limit: int, depth: int = DEPTH) -> Any:
    """The value of at most `limit` bytes of JSON, nested `depth` deep. Raises ConfigurationError, with a line where one
    is known.
    """
    if len(content) > limit:
        raise ConfigurationError([Fault((), f"larger than {limit // 1_000_000} MB")])
    try:
        text = content.decode("utf-8-sig")
        value = _DECODER.decode(text)
        _check(value, depth, surrogates="\\u" in text)
    except UnicodeDecodeError as error:
        raise ConfigurationError([Fault((), "not UTF-8", line=content.count(b"\n", 0, error.start) + 1)]) from None
    except json.JSONDecodeError as error:
        raise ConfigurationError([Fault((), f"not valid JSON: {error.msg}", line=error.lineno)]) from None
    except RecursionError:
        raise ConfigurationError([Fault((), f"nested deeper than {depth}")]) from None
    except ValueError as error:
        raise ConfigurationError([Fault((), f"not valid JSON: {error}")]) from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        name = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value] # None
        raise ValueError(f"duplicate key {display(name)}")
    return found


def _constant(text: str) -> None:
    raise ValueError(f"{text} is not a number of JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_float
)


def _check(value: Any, deepest: int, *, surrogates: bool) -> None:
    """Raise ValueError for structures that are nested too deeply, and for unpaired surrogates if there may be any."""
    level, depth = [value], 0
    while level:
        if depth > deepest + 1:
            raise ValueError(f"nested deeper than {deepest}")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
                if surrogates:
                    inner += item
            elif isinstance(item, list):
                inner += item
            elif surrogates and isinstance(item, str) and not _is_text(item):
                raise ValueError("an unpaired surrogate")
        level, depth = inner, depth + 1


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
