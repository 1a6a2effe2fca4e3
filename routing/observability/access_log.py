"""The access log: one line per request, as JSON or for the console, written in batches off the request path."""

import asyncio
import logging
import os
import select
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import msgspec

from routing.observability import text_output
from routing.observability.events import Observer, RequestFinished

log = logging.getLogger(__name__)

LOG_FLUSH_SECONDS: Final = 0.1
"""The longest time a line is buffered."""
MAX_BUFFERED_LINES: Final = 10_000
"""Further lines are dropped and counted."""
LOGGER: Final = "access"
"""Tells these lines from others in one log: docs/logs.md."""

_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))}


class AccessLog(Observer):
    """An Observer that writes to `stream`. Bodies, query strings and credentials are never logged.

    Workers share the stream. What is longer than PIPE_BUF may be interleaved with another worker's in a pipe that is
    full, so that no more is written to a pipe at a time.
    """

    def __init__(self, log_format: str, stream: TextIO = sys.stdout) -> None:
        self._format = _json if log_format == "json" else _console
        text_output.accept_every_character(stream)
        self._stream = stream
        self._longest = select.PIPE_BUF if _is_pipe(stream) else sys.maxsize
        self._buffer: list[str] = []
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None

    def finished(self, event: RequestFinished) -> None:
        if len(self._buffer) >= MAX_BUFFERED_LINES:
            self._dropped += 1
            return
        self._buffer.append(self._format(event))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOG_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write the buffered lines. Also called at shutdown."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        lines, self._buffer = self._buffer, []
        try:
            for text in joined(lines, self._longest):
                self._stream.write(text)
                self._stream.flush()
        except BrokenPipeError:  # nobody reads it any more: requests are served on
            text_output.discard(self._stream)
        except OSError:  # the disk is full: requests are served on, and the loss is logged once lines can be written
            self._dropped += len(lines)
            return
        if self._dropped:
            log.warning("%d lines of the access log were dropped: more came than could be written", self._dropped)
            self._dropped = 0


def joined(lines: list[str], longest: int) -> Iterator[str]:
    """As many whole lines at a time as have at most `longest` bytes; a longer line by itself."""
    together: list[str] = []
    size = 0
    for line in lines:
        length = len(line) if line.isascii() else len(line.encode())
        if together and size + length > longest:
            yield "".join(together)
            together, size = [], 0
        together.append(line)
        size += length
    if together:
        yield "".join(together)


def _is_pipe(stream: TextIO) -> bool:
    """Whether the stream is a pipe, or a socket as to the journal."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _json(event: RequestFinished) -> str:
    fields: dict[str, Any] = {
        "at": "",
        "level": "info",
        "logger": LOGGER,
        "process": os.getpid(),
        **msgspec.structs.asdict(event),
    }
    fields["at"] = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
    fields["duration"] = round(event.duration, 6)
    if event.backend is not None:
        fields["backend"] = round(event.backend, 6)
    try:
        return msgspec.json.encode(fields).decode() + "\n"
    except UnicodeEncodeError:  # bytes of a backend that are no text
        return msgspec.json.encode({name: _encodable(value) for name, value in fields.items()}).decode() + "\n"


def _encodable(value: object) -> object:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _console(event: RequestFinished) -> str:
    clock = datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S")
    reason = event.reason and f"({event.reason})"
    other = event.fallback and f"fallback={event.fallback}"
    notes = " ".join(note for note in (event.cache, event.code, event.circuit, event.aborted, reason, other) if note)
    path = event.path.translate(_CONTROL)
    return f"{clock} {event.status} {event.method} {path} {event.duration * 1000:.1f}ms {event.caller or '-'} {notes}\n"
