"""Parsing of cache directives, as lenient as RFC 9111 demands. Malformed input never raises."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

Directives = Mapping[bytes, bytes | None]
"""Lower-case name to unquoted argument: None without an argument, INVALID if it occurs twice with different ones."""

INVALID: Final = b""
MAX_DELTA_SECONDS: Final = 2**31
"""The largest delta-seconds value; larger ones are reduced to it (RFC 9111 section 1.2.2)."""
MAX_FIELD_BYTES: Final = 8_192
EXCESSIVE: Final[Directives] = {b"no-store": None}
"""The directives of a field that is too long to be parsed."""
MAX_QUOTES: Final = 32
"""Of a field that is parsed: an unclosed quote makes each later one look for its end in the whole rest."""
MEMOISED_BYTES: Final = 256
"""The largest field whose directives are memoised: most responses of a service have the same."""

_DIRECTIVE: Final = re.compile(rb'([^\s,;="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)

_BARE: Final = (
    rb"(?:\?[01]|-?[0-9]{1,15}(?:\.[0-9]{1,3})?|\"(?:[ !#-\[\]-~]|\\[\"\\])*\"|[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*)"
)
_KEY: Final = rb"[a-z*][a-z0-9_.*-]*"
_MEMBER: Final = rb"(" + _KEY + rb")(?:=(" + _BARE + rb"))?(?:; *" + _KEY + rb"(?:=" + _BARE + rb")?)*"
_NUMERIC: Final = frozenset({b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"})
_INTEGER: Final = re.compile(rb"-?[0-9]{1,15}")
_TARGETED_MEMBER: Final = re.compile(_MEMBER)
_TARGETED_FIELD: Final = re.compile(_MEMBER + rb"(?:[ \t]*,[ \t]*" + _MEMBER + rb")*")


def parse(values: Sequence[bytes]) -> Directives:
    """The directives of all lines of a Cache-Control field (RFC 9111 section 5.2), as tokens or quoted strings.

    The grammar allows no white space around `=`, so what follows it is not an argument: `max-age =60` is stale at once,
    and `no-store =x` is no-store (section 4.2.1). An excessively long field is no-store as a whole.
    """
    lines = tuple(values)
    size = sum(map(len, lines))
    if size > MEMOISED_BYTES and _is_excessive(lines, size):
        return EXCESSIVE
    return _parsed_memo(lines) if size <= MEMOISED_BYTES else _parsed(lines)


def _is_excessive(lines: Sequence[bytes], size: int) -> bool:
    return size > MAX_FIELD_BYTES or sum(line.count(b'"') for line in lines) > MAX_QUOTES


def _parsed(values: tuple[bytes, ...]) -> Directives:
    directives: dict[bytes, bytes | None] = {}
    for line in values:
        for match in _DIRECTIVE.finditer(line):
            name, argument = match[1].lower(), _argument(match)
            if directives.setdefault(name, argument) != argument:
                directives[name] = INVALID  # conflicting: stale at once (RFC 9111 section 4.2.1)
    return directives


_parsed_memo: Final = lru_cache(maxsize=1_024)(_parsed)


def parse_targeted(values: Sequence[bytes]) -> Directives | None:
    """The directives of a targeted field such as CDN-Cache-Control, a structured dictionary (RFC 9213 section 2.1).

    None if it is absent, empty, too long or malformed, or a numeric directive has no number: then Cache-Control
    applies.
    """
    line = b", ".join(values).strip(b" ") if values else b""
    if not line or _is_excessive((line,), len(line)) or not _TARGETED_FIELD.fullmatch(line):
        return None
    directives: dict[bytes, bytes | None] = {}
    for match in _TARGETED_MEMBER.finditer(line):
        name, argument = match[1], match[2]
        if argument == b"?0":
            directives.pop(name, None)
        else:
            directives[name] = _unquoted(argument)
            if name in _NUMERIC and not _INTEGER.fullmatch(argument or b""):
                return None
    return directives or None


def seconds(directives: Directives, name: bytes) -> int | None:
    """A directive's delta-seconds: None if absent, 0 if malformed (RFC 9111 sections 1.2.2 and 4.2.1)."""
    if name not in directives:
        return None
    return delta_seconds(directives[name] or INVALID) or 0


def delta_seconds(text: bytes) -> int | None:
    """A non-negative integer, reduced to MAX_DELTA_SECONDS; None if malformed (RFC 9111 section 1.2.2)."""
    if not text.isdigit():
        return None
    return MAX_DELTA_SECONDS if len(text.lstrip(b"0")) > 10 else min(int(text), MAX_DELTA_SECONDS)


def _unquoted(item: bytes | None) -> bytes | None:
    """A bare item's text: a string without its quotes and escapes."""
    return _ESCAPED.sub(rb"\1", item[1:-1]) if item and item.startswith(b'"') else item


def _argument(match: re.Match[bytes]) -> bytes | None:
    quoted, token = match[2], match[3]
    return token if quoted is None else _ESCAPED.sub(rb"\1", quoted)
