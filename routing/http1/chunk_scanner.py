"""Finds where a chunked body ends (RFC 9112 section 7.1). llhttp parses and checks it, but does not report its end."""

from typing import Final

from routing.errors import BadRequest

_MAX_LINE_BYTES: Final = 32
"""How much is kept of a line that is divided over several reads: enough for any chunk size without needless zeros."""
MAX_CHUNKS: Final = 1_024
"""The most chunks that one call of `find_end` passes."""
MAX_OVERHEAD_BYTES: Final = 65_536
"""Limit for chunk extensions and trailer fields, which the limit of a body's size does not count."""
_FREE_BYTES: Final = 16
"""Of each chunk's line; twice its size is free too, so that a signature of each chunk (AWS's `chunk-signature`) is."""


class ChunkScanner:
    """One chunked body, whose data may be divided in any way. For a malformed body the result is undefined."""

    __slots__ = ("_in_trailer", "_line", "_overhead", "_skip")

    def __init__(self) -> None:
        self._skip = 0
        self._line = b""
        self._in_trailer = False
        self._overhead = 0

    def find_end(self, data: bytes, start: int) -> int:
        """The position in `data` behind the body, or its length if the body goes on. `start` is where it continues.

        After MAX_CHUNKS it is the position so far; the caller continues from there later. Raises BadRequest for a chunk
        size that has too many digits to be kept, and for extensions and trailer fields over MAX_OVERHEAD_BYTES.
        """
        position, size, chunks = start, len(data), 0
        while position < size and chunks < MAX_CHUNKS:
            if self._skip:
                step = min(self._skip, size - position)
                self._skip -= step
                position += step
                continue
            newline = data.find(b"\n", position)
            end = size if newline < 0 else newline
            self._count((end if newline < 0 else end + 1) - position)
            line = (self._line + data[position : min(end, position + _MAX_LINE_BYTES)])[:_MAX_LINE_BYTES]
            if len(line) == _MAX_LINE_BYTES and not self._in_trailer and b";" not in line:
                raise BadRequest("malformed request: the size of a chunk has too many digits")
            if newline < 0:
                self._line = line
                return size
            self._line = b""
            position = newline + 1
            if self._in_trailer:
                if line in (b"\r", b""):
                    return position
            else:
                self._begin_chunk(line)
                chunks += 1
        return position

    def _count(self, size: int) -> None:
        self._overhead += size
        if self._overhead > MAX_OVERHEAD_BYTES:
            raise BadRequest("malformed request: its chunk extensions or trailer fields are too large")

    def _begin_chunk(self, line: bytes) -> None:
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:  # llhttp rejects it
            return
        self._overhead = max(0, self._overhead - _FREE_BYTES - 2 * size)
        self._in_trailer = size == 0
        self._skip = size + 2 if size else 0
