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
"""The most quotes of a field that is parsed: after an unclosed one, each further quote searches the whole rest for its
end.
"""
MEMOISED_BYTES: Final = 256
"""The largest field whose directives are memoised: most responses of a service have the same."""

_DIRECTIVE: Final = re.compile(rb'([^\s,;="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)

_BARE: Final = (
    rb"(?:\?[01]|-?[0-9]{1,15}(?:\.[0-9]{1,3})?|\"(?:[ !#-\[\]-~]|\\[\"\\])*\"|[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*)"
)
_KEY: Final = rb"[a-z*][a-z0-9_.*-]*"
_MEMBER: Final = rb"(" + _KEY + rb")(?:=(" + _BARE + rb"))?(?:; *" + _KEY + rb"(?:=" + _BARE + rb")?)*"
_PROHIBITIONS: Final = frozenset({b"no-store", b"private", b"no-cache", b"must-revalidate", b"proxy-revalidate"})
"""Directives that hold where the rest of the field is malformed."""
_LISTS: Final = frozenset({b"private", b"no-cache"})
"""Directives whose argument lists field names (RFC 9111 sections 5.2.2.4 and 5.2.2.7)."""
_TRUE: Final = frozenset({b"?1", b"1", b"true", b"yes", b"on"})
"""Arguments of `private=` that mean the whole response: no field has such a name."""
_FIELD_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NUMERIC: Final = frozenset({b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"})
_INTEGER: Final = re.compile(rb"-?[0-9]{1,15}")
_TARGETED_MEMBER: Final = re.compile(_MEMBER)
_TARGETED_FIELD: Final = re.compile(_MEMBER + rb"(?:[ \t]*,[ \t]*" + _MEMBER + rb")*")


def parse(values: Sequence[bytes]) -> Directives:
    """The directives of all lines of a Cache-Control field (RFC 9111 section 5.2), as tokens or quoted strings.

    The grammar allows no white space around `=`, so what follows it is not an argument: `max-age =60` is stale at once,
    and `no-store =x` is no-store (section 4.2.1). After a `;` instead of a comma, prohibitions are read. An excessively
    long field is no-store as a whole.
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
            name = match[1].lower()
            argument = _argument(name, match)
            if directives.setdefault(name, argument) != argument:
                directives[name] = INVALID  # conflicting: stale at once (RFC 9111 section 4.2.1)
            if match[3] and b";" in match[3]:
                directives.update(dict.fromkeys(_prohibitions(match[3])))
    return directives


_parsed_memo: Final = lru_cache(maxsize=1_024)(_parsed)


def parse_targeted(values: Sequence[bytes]) -> Directives | None:
    """The directives of a targeted field such as CDN-Cache-Control, a structured dictionary (RFC 9213 section 2.1).

    None if it is absent, empty, too long or malformed, or a numeric directive has no number and nothing is prohibited:
    then Cache-Control applies.
    """
    line = b", ".join(values).strip(b" ") if values else b""
    if not line or _is_excessive((line,), len(line)) or not _TARGETED_FIELD.fullmatch(line):
        return None
    directives: dict[bytes, bytes | None] = {}
    is_numeric = True
    for match in _TARGETED_MEMBER.finditer(line):
        name, argument = match[1], match[2]
        if argument == b"?0":
            directives.pop(name, None)
        else:
            directives[name] = None if argument == b"?1" else _fields_or_none(name, _unquoted(argument))
            if name in _NUMERIC and not _INTEGER.fullmatch(argument or b""):
                is_numeric = False
    if not is_numeric and _PROHIBITIONS.isdisjoint(directives):
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


def _argument(name: bytes, match: re.Match[bytes]) -> bytes | None:
    quoted, token = match[2], match[3]
    return _fields_or_none(name, token if quoted is None else _ESCAPED.sub(rb"\1", quoted))


def _fields_or_none(name: bytes, argument: bytes | None) -> bytes | None:
    """A directive's argument; None where it should list fields but is empty, or has blanks for commas: the directive
    then applies to the whole response.
    """
    if name not in _LISTS or argument is None:
        return argument
    names = [part for part in map(bytes.strip, argument.split(b",")) if part]
    is_list = names and argument.lower() not in _TRUE and all(map(_FIELD_NAME.fullmatch, names))
    return argument if is_list else None


def _prohibitions(argument: bytes) -> set[bytes]:
    """Those that a malformed argument such as `60;private` contains."""
    return {part.partition(b"=")[0].lower() for part in argument.split(b";")[1:]} & _PROHIBITIONS
