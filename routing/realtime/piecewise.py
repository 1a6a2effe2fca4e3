"""Parsing what a WebSocket has received in pieces, so that other connections have their turn."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

TURN_SECONDS: Final = 0.002
"""How long frames are parsed before other connections have a turn."""


class PiecewiseParser:
    """`parse` gets what was read in pieces of `piece` bytes, for TURN_SECONDS at a time, and none while `is_held`:
    messages wait to be taken. One read can have 40,000 frames of a client, or 130,000 of a backend, and parsing them
    takes a second.

    `pause` and `resume` pause and resume reading, which is paused until all is parsed. Both may be called twice. What
    is left once `is_closing` is dropped.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        parse: Callable[[bytes], None],
        *,
        piece: int,
        is_held: Callable[[], bool],
        is_closing: Callable[[], bool],
        pause: Callable[[], None],
        resume: Callable[[], None],
    ) -> None:
        self._loop, self._parse, self._piece = loop, parse, piece
        self._is_held, self._is_closing = is_held, is_closing
        self._pause, self._resume = pause, resume
        self._unparsed = b""
        self._turn: asyncio.Handle | None = None

    def add(self, data: bytes) -> None:
        """Take what was read."""
        self._unparsed += data
        if self._turn is None:
            self._take_turn()

    def release(self) -> None:
        """Go on: `is_held` has become false."""
        if self._turn is not None:
            return
        if self._unparsed:
            self._turn = self._loop.call_soon(self._take_turn)
        elif not self._is_closing():
            self._resume()

    def clear(self) -> None:
        """The connection has ended."""
        self._unparsed = b""

    def _take_turn(self) -> None:
        self._turn = None
        data, position, until = self._unparsed, 0, time.monotonic() + TURN_SECONDS
        while position < len(data) and not self._is_closing() and not self._is_held():
            if position and time.monotonic() > until:
                self._turn = self._loop.call_soon(self._take_turn)
                break
            self._parse(data[position : position + self._piece])
            position += self._piece
        self._unparsed = data[position:]
        if self._is_closing():
            self.clear()
        elif self._unparsed:
            self._pause()
        elif not self._is_held():
            self._resume()
