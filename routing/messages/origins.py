"""Web origins (RFC 6454) and the patterns that configuration uses for them. Pure functions, linear in their input."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

ANY: Final = "*"
NULL: Final = "null"
"""The origin of sandboxed pages, local files and some redirects (RFC 6454 section 7.3)."""

_ORIGIN: Final = re.compile(
    r"([a-z][a-z0-9+.-]*)://"
    r"((?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])"
    r"(?::([0-9]{1,5}|\*))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
MAX_ORIGIN_LENGTH: Final = 512


class Origin(NamedTuple):
    """An origin, or a pattern of one: then `host` may begin with `*.`, and `port` be `*`. No port is the default."""

    scheme: str
    host: str
    port: str


@lru_cache(maxsize=1_024)
def parse_origin(text: str) -> Origin | None:
    """The origin or pattern in `text`, whatever its case; None if it is neither."""
    found = _ORIGIN.fullmatch(text.lower())
    if found is None:
        return None
    scheme, host, port = found.groups()
    return Origin(scheme, host, "" if port is None or port == _DEFAULT_PORTS.get(scheme) else port)


def origin_pattern(text: str) -> str:
    """A valid pattern, in lower case: `*`, `null`, or an origin. Raises ValueError for anything else."""
    pattern = text.lower()
    if pattern not in (ANY, NULL) and parse_origin(pattern) is None:
        raise ValueError(
            f"{text!r} is not an origin: write https://app.example.com, https://*.example.com, "
            "http://localhost:*, null or *, without a path"
        )
    return pattern


class Origins:
    """A set of origins, given as patterns. `*.` stands for one or more labels, never for none."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.has_any = ANY in patterns
        self.has_null = NULL in patterns
        parsed = [origin for origin in map(parse_origin, patterns) if origin is not None]
        self._exact = frozenset(origin for origin in parsed if "*" not in origin.host + origin.port)
        self._patterns = tuple(origin for origin in parsed if origin not in self._exact)

    def contains(self, text: str) -> bool:
        """Whether the value of an Origin field is one of these."""
        return (self.has_any and text != "") or self.lists(text)

    def lists(self, text: str) -> bool:
        """The same without `*`: whether the configuration names the origin or its domain."""
        if text == NULL:
            return self.has_null
        if "*" in text or len(text) > MAX_ORIGIN_LENGTH:
            return False
        origin = parse_origin(text)
        if origin is None:
            return False
        return origin in self._exact or any(_matches(pattern, origin) for pattern in self._patterns)


def _matches(pattern: Origin, origin: Origin) -> bool:
    if pattern.scheme != origin.scheme or pattern.port not in ("*", origin.port):
        return False
    if pattern.host.startswith("*."):
        return origin.host.endswith(pattern.host[1:])
    return pattern.host == origin.host
