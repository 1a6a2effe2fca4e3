"""The copy of a body that is to be stored."""

from collections.abc import Callable
from typing import Final

BODY_BYTES: Final = 8 * 1_024 * 1_024
"""Larger bodies are not stored."""


class BodyRecorder:
    """Copies a body while it is streamed, up to `limit` bytes. Calls `on_overflow` once for a longer one."""

    __slots__ = ("_chunks", "_left", "_on_overflow")

    def __init__(self, limit: int = BODY_BYTES, on_overflow: Callable[[], None] | None = None) -> None:
        self._chunks: list[bytes] = []
        self._left = limit
        self._on_overflow = on_overflow

    def add(self, chunk: bytes) -> None:
        if self._left >= 0:
            self._left -= len(chunk)
            self._chunks.append(chunk)
            if self._left < 0:
                self._chunks.clear()
                if self._on_overflow:
                    self._on_overflow()

    def body(self) -> bytes | None:
        """The complete body, once the stream has ended normally; None if it exceeded the limit."""
        return None if self._left < 0 else b"".join(self._chunks)
