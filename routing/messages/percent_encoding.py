"""Percent-encoding (RFC 3986 section 2.1). Pure rules."""

from itertools import product
from typing import Final

_HEX_DIGITS: Final = "0123456789ABCDEFabcdef"
_BYTES: Final = {(a + b).encode(): bytes.fromhex(a + b) for a, b in product(_HEX_DIGITS, repeat=2)}


def decode(data: bytes) -> bytes:
    """Decode once. A `%` without two digits stays as it is.

    As urllib.parse.unquote_to_bytes, which raises and catches an exception for each of those.
    """
    first, *rest = data.split(b"%")
    if not rest:
        return data
    parts = [first]
    for part in rest:
        byte = _BYTES.get(part[:2])
        if byte is None:
            parts += b"%", part
        else:
            parts += byte, part[2:]
    return b"".join(parts)
