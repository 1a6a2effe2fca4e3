"""Envoy's `X-Forwarded-Client-Cert`: elements separated by commas, each of pairs separated by semicolons.

Source: envoyproxy.io, "HTTP header manipulation", x-forwarded-client-cert. Values with a comma, a semicolon or an
equals sign are quoted, and a quote is escaped by a backslash; keys are case-insensitive. Envoy itself does not quote
URIs and DNS names, so that an unquoted value may contain an equals sign.

Envoy puts a subject between quotes as RFC 2253 writes it, without escaping it again: its backslashes are the
subject's own, and without them `O=Shop\\, CN=admin` would read as two attributes.
"""

import re
from typing import Final

MAX_BYTES: Final = 65_536
MAX_ELEMENTS: Final = 32
MAX_PAIRS: Final = 256
_PAIR: Final = re.compile(rb'[ \t]*+([A-Za-z]{1,16})=("(?:[^"\\]|\\.)*+"|[^",;]*+)[ \t]*+([;,]|\Z)')
_ESCAPE: Final = re.compile(rb"\\(.)")
_REPEATED: Final = frozenset({b"uri", b"dns", b"by"})
"""Keys of which an element may have several."""
_SUBJECT: Final = b"subject"

Element = dict[bytes, tuple[bytes, ...]]


def parse_xfcc(value: bytes) -> list[Element]:
    """The elements in the order of the proxies, each with its values by lower-case key. Raises ValueError.

    Nothing is guessed: a text that is not of this form could give one client another's certificate.
    """
    if len(value) > MAX_BYTES:
        raise ValueError("too long")
    elements: list[Element] = []
    current: Element = {}
    position = pairs = 0
    while position < len(value):
        found = _PAIR.match(value, position)
        if found is None or pairs >= MAX_PAIRS:
            raise ValueError(f"malformed at {position}")
        pairs, position = pairs + 1, found.end()
        key = found[1].lower()
        _add(current, key, _unquoted(found[2], has_escapes=key != _SUBJECT))
        if found[3] != b";":
            elements.append(current)
            current = {}
        if found[3] and position == len(value):
            raise ValueError("ends with a separator")
    if len(elements) > MAX_ELEMENTS:
        raise ValueError("too many elements")
    return elements


def _add(element: Element, key: bytes, content: bytes) -> None:
    if key in element and key not in _REPEATED:
        raise ValueError(f"{key.decode()} is repeated")
    element[key] = (*element.get(key, ()), content)


def _unquoted(content: bytes, *, has_escapes: bool) -> bytes:
    if not content.startswith(b'"'):
        return content.rstrip(b" \t")
    return _ESCAPE.sub(rb"\1", content[1:-1]) if has_escapes else content[1:-1]
