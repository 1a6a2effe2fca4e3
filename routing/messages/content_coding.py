"""Content codings of a message that is complete: gzip and deflate, within a bound (RFC 9110 section 8.4.1)."""

import zlib
from typing import Final

from routing.http import Headers

DECODED_CODINGS: Final = (b"gzip", b"deflate")
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32
_RAW_DEFLATE: Final = -zlib.MAX_WBITS
_GZIP_MAGIC: Final = b"\x1f\x8b"
_MAX_MEMBERS: Final = 64
"""Of a gzip stream: each one costs a copy of the rest."""


def content_coding(headers: Headers) -> bytes:
    """The content coding, empty if there is none. Several are one name that nothing decodes."""
    codings = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    coding = b",".join(codings).removeprefix(b"x-")
    return b"" if coding == b"identity" else coding


def decoded(body: bytes, coding: bytes, limit: int) -> bytes | None:
    """The content of a gzip or zlib stream; None if it is malformed, cut short or longer than `limit` bytes.

    A gzip stream may have several members (RFC 1952 section 2.2), and some servers send `deflate` without the wrapper
    of zlib (RFC 9110 section 8.4.1.2).
    """
    content = _inflated(body, _GZIP_OR_ZLIB, limit)
    return _inflated(body, _RAW_DEFLATE, limit) if content is None and coding == b"deflate" else content


def _inflated(data: bytes, window: int, limit: int) -> bytes | None:
    content = b""
    for _ in range(_MAX_MEMBERS):
        decoder = zlib.decompressobj(window)
        try:
            content += decoder.decompress(data, limit + 1 - len(content))
        except zlib.error:
            return None
        if not decoder.eof or len(content) > limit:
            return None
        data = decoder.unused_data
        if not data.startswith(_GZIP_MAGIC):
            return content
    return None
