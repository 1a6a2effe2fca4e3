"""JSON of other programs, as most parsers read it. No I/O."""

import re
from typing import Any, Final

import msgspec

_BOM: Final = b"\xef\xbb\xbf"
_ESCAPE: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB]%(hex)s\\u[dD][c-fC-F]%(hex)s|\\u[dD][89a-fA-F]%(hex)s" % {b"hex": b"[0-9a-fA-F]{2}"}
)
"""A backslash, a pair of surrogates, or one alone."""
_PAIR: Final = 12
_REPLACEMENT: Final = rb"\ufffd"


def decode_json(body: bytes) -> Any:
    """The value. A byte order mark is skipped (RFC 8259 section 8.1), and a surrogate without its other half, as in a
    text that was cut, is U+FFFD (section 8.2).

    Raises ValueError, and RecursionError for what is nested too deeply.
    """
    body = body.removeprefix(_BOM)
    try:
        return msgspec.json.decode(body)
    except ValueError:
        repaired = _ESCAPE.sub(_without_lone_surrogate, body)
        if repaired == body:
            raise
    return msgspec.json.decode(repaired)


def _without_lone_surrogate(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0] == rb"\\" or len(found[0]) == _PAIR else _REPLACEMENT
