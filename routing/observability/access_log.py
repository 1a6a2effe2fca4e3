"""The access log: one line per request, as JSON or for the console, written in batches off the request path."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

import msgspec

from routing.observability import broken_pipe
from routing.observability.events import Observer, RequestFinished

LOG_FLUSH_SECONDS: Final = 0.1
"""The longest time a line is buffered."""
MAX_BUFFERED_LINES: Final = 10_000
"""Further lines are dropped and counted."""

_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))}


class AccessLog(Observer):
    """An Observer that writes to `stream`. Bodies, query strings and credentials are never logged."""

    def __init__(self, log_format: str, stream: TextIO = sys.stdout) -> None:
        self._format = _json if log_format == "json" else _console
        self._stream = stream
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
        if self._dropped:
            lines.append(f'{{"dropped_lines":{self._dropped}}}\n')
            self._dropped = 0
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except BrokenPipeError:  # nobody reads it any more: requests are served on
            broken_pipe.discard(self._stream)


def _json(event: RequestFinished) -> str:
    fields = msgspec.structs.asdict(event)
    fields["at"] = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
    fields["duration"] = round(event.duration, 6)
    if event.backend is not None:
        fields["backend"] = round(event.backend, 6)
    return msgspec.json.encode(fields).decode() + "\n"


def _console(event: RequestFinished) -> str:
    clock = datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S")
    reason = event.reason and f"({event.reason})"
    other = event.fallback and f"fallback={event.fallback}"
    notes = " ".join(note for note in (event.cache, event.code, event.circuit, event.aborted, reason, other) if note)
    path = event.path.translate(_CONTROL)
    return f"{clock} {event.status} {event.method} {path} {event.duration * 1000:.1f}ms {event.caller or '-'} {notes}\n"
