"""Parsers for single configuration values. No Django, no I/O.

A parser takes a value as YAML or JSON represents it and returns it in the gateway's types. It raises ValueError, or
ConfigurationError for faults inside a nested value.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from resilience.cache.policy import CALLER_FIELDS
from resilience.ratelimit.policy import RatePolicy
from routing.configuration.faults import Faults
from routing.configuration.suggestions import suggestion

ValueParser = Callable[[Any], Any]
SecretLookup = Callable[[str], str | None]
"""The value of an environment variable, None if it is not set, or the content of a file: `NAME` or `file:/path`.

Raises ValueError for one that may not be used, and UnresolvedSecret for one that cannot be read.
"""

SUPPORTED_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)?")
_DECIMAL: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, None: 1.0}
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
"""RFC 9110 section 5.6.2."""
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?)*")
_SCOPE: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,128}")
_TAG: Final = re.compile(
    r"(?:[\x21-\x2b\x2d-\x7a\x7c\x7e]|\{(?!(?:caller|tenant)\|)[A-Za-z_][A-Za-z0-9_]*(?:\|lower)?\}"
    r"|\{(?:body|query)\.[A-Za-z0-9_.$-]{1,64}(?:\|lower)?\}){1,256}"
)
"""Visible ASCII without commas, since tags are sent in lists; braces only around a parameter's name. The fields of a
caller are compared as they are: two callers may differ in case alone.
"""


def display(value: object) -> str:
    """A value for an error message: as the file writes it, and shortened."""
    words: dict[object, str] = {True: "true", False: "false", None: "null"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping of names to values, not {display(value)}")
    return {str(key): item for key, item in value.items()}


def mapping_of(parsers: Mapping[str, ValueParser]) -> ValueParser:
    """A mapping, the value of each key parsed by its own parser. An unknown key is a fault."""

    def parse(value: object) -> dict[str, Any]:
        faults = Faults()
        parsed = parse_mapping(value, parsers, faults)
        faults.raise_if_any()
        return parsed

    return parse


def parse_mapping(
    value: object,
    parsers: Mapping[str, ValueParser],
    faults: Faults,
    *,
    null_is_default: bool = False,
    inner: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Like `mapping_of`, but adds faults to `faults` and leaves their keys out of the result.

    With `null_is_default`, a null value is the same as a missing key. `inner` says where keys of sections belong.
    Raises ValueError if `value` is not a mapping.
    """
    parsed: dict[str, Any] = {}
    for key, item in mapping(value).items():
        if key not in parsers:
            faults.add((), f"unknown key {display(key)}{suggestion(key, parsers, inner or {})}", key)
        elif item is not None or not null_is_default:
            with faults.at(key):
                parsed[key] = parsers[key](item)
    return parsed


def bounded_list(value: object, most: int) -> list[Any]:
    """The items of a list with at most `most`, which may be left out. Raises ValueError."""
    items = [] if value is None else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"must be a list, not {display(value)}")
    if len(items) > most:
        raise ValueError(f"must have at most {most} items")
    return list(items)


def list_of(parser: ValueParser) -> ValueParser:
    """A list, each item parsed by `parser`."""

    def parse(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list, not {display(value)}")
        faults, items = Faults(), []
        for index, item in enumerate(value):
            with faults.at(index):
                items.append(parser(item))
        faults.raise_if_any()
        return tuple(items)

    return parse


def nullable(parser: ValueParser) -> ValueParser:
    """Accept null too, as None."""
    return lambda value: None if value is None else parser(value)


def string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {display(value)} (put it in quotes)")
    return value


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {display(value)}")
    return value


def integer(low: int, high: int) -> ValueParser:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be an integer, not {display(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return parse


def number(low: float, high: float) -> ValueParser:
    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"must be a number, not {display(value)}")
        if not low <= value <= high:  # also false for NaN
            raise ValueError(f"must be from {low:.15g} to {high:.15g}")
        return float(value)

    return parse


def decimal(value: object) -> str:
    """A decimal number as text, exactly as it is written: `0.002` or `"0.002"`.

    A float of at most 15 digits has them in its shortest representation.
    """
    if not isinstance(value, bool) and isinstance(value, int | float) and abs(value) < 1e15:  # also false for NaN
        return f"{Decimal(repr(value)):f}"
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return value
    raise ValueError(f"must be a number, not {display(value)}")


def duration(value: object) -> float:
    """Seconds, given as `500ms`, `2s`, `1m`, `1h` or a number of seconds."""
    if isinstance(value, str) and (form := _DURATION.fullmatch(value.strip())):
        return float(form[1]) * _UNITS[form[2]]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError(f"must be a duration such as 500ms, 2s, 1m or 1h, not {display(value)}")
    return float(value)


def rate(value: object) -> RatePolicy:
    """A rate such as `100/m`."""
    if not isinstance(value, str):
        raise ValueError(f"must be a rate such as 100/m, not {display(value)}")
    return RatePolicy.parse(value)


def one_of(kind: type[StrEnum]) -> ValueParser:
    def parse(value: object) -> StrEnum:
        names = [str(member) for member in kind]
        if isinstance(value, str) and value in names:
            return kind(value)
        hint = " (YAML reads a bare yes, no, on or off as true or false)" if isinstance(value, bool) else ""
        raise ValueError(f"must be {', '.join(names[:-1])} or {names[-1]}, not {display(value)}{hint}")

    return parse


def matching(form: re.Pattern[str], what: str) -> ValueParser:
    """A string that matches `form` as a whole."""

    def parse(value: object) -> str:
        if form.fullmatch(string(value)) is None:
            raise ValueError(f"{display(value)} is not {what}")
        return str(value)

    return parse


scope: Final = matching(_SCOPE, "a scope: visible ASCII without spaces, quotes or commas")
tag: Final = matching(_TAG, "a tag: visible ASCII without spaces or commas, braces only around a parameter's name")
token: Final = matching(_TOKEN, "a header name")
cookie_name: Final = matching(_TOKEN, "a cookie's name")


def field_name(value: object) -> str:
    """A header name, in lower case."""
    return str(token(value)).lower()


def host_name(value: object) -> str:
    """A host name or IPv4 address, in lower case, without a port."""
    name = string(value).lower().removesuffix(".")
    if _HOST.fullmatch(name) is None:
        raise ValueError(f"{display(value)} is not a host name (no scheme, no port, no path)")
    return name


def method(value: object) -> str:
    if value in SUPPORTED_METHODS:
        return str(value)
    if string(value).upper() in SUPPORTED_METHODS:
        raise ValueError(f"methods must be in capitals: {str(value).upper()}")
    raise ValueError(f"{display(value)} is not a supported method ({', '.join(SUPPORTED_METHODS)})")


def pattern(value: object) -> str:
    """A route's path: `/mailboxes/{user}/messages`, `/files/*`."""
    path = string(value)
    if not path.startswith("/"):
        raise ValueError("must start with '/'")
    if any(ord(char) < 0x20 or ord(char) == 0x7F or char in "?#%" for char in path):
        raise ValueError("must be written without percent-encoding: no '%', '?', '#' or control characters")
    segments = path[1:].split("/") if path != "/" else []
    for index, segment in enumerate(segments):
        _check_segment(segment, last=index == len(segments) - 1)
    names = parameters(path)
    if len(names) != len(set(names)):
        raise ValueError("each {name} may appear once")
    for name in CALLER_FIELDS.keys() & set(names):
        raise ValueError(f"{{{name}}} is reserved for tags: choose another parameter name")
    return path


def _check_segment(segment: str, *, last: bool) -> None:
    if re.fullmatch(r"\{[A-Za-z_][A-Za-z0-9_]*\}", segment):
        return
    if "{" in segment or "}" in segment:
        raise ValueError(f"{display(segment)}: a {{name}} must be a whole segment")
    if "*" in segment and not (segment == "*" and last):
        raise ValueError("'*' may only be the whole last segment")
    if not segment and last:
        raise ValueError("must not end with '/'; use '/*' to match any rest")
    if segment in ("", ".", ".."):
        raise ValueError(f"{display(segment)} cannot be a segment")


def parameters(template: str) -> list[str]:
    """The names of a pattern's `{name}`s, or a tag's, where `|lower` may follow them, in order."""
    return re.findall(r"\{([A-Za-z_][A-Za-z0-9_]*)(?:\|lower)?\}", template)


def message_fields(template: str) -> list[str]:
    """The names of body fields and query parameters in a tag: `body.channel`, `query.channel`."""
    return re.findall(r"\{((?:body|query)\.[^{}|]*)(?:\|lower)?\}", template)


def json_value(value: object) -> object:
    """Any JSON value. NaN and infinity are not JSON."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [*item, *item.values()]
        elif isinstance(item, list | tuple):
            pending += item
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"{item} cannot be represented in JSON")
        elif not (item is None or isinstance(item, str | int | float)):
            raise ValueError(f"{display(item)} cannot be represented in JSON")
    return value


def preset_parser(names: Callable[[], Iterable[str]]) -> ValueParser:
    """The name of a preset, one of those that `names` returns."""

    def parse(value: object) -> str:
        known = tuple(names())
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}, not {display(value)}")
        return str(value)

    return parse
