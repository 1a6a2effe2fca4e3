"""One line per request, for machines or for people; written in batches, so that no request waits for a disk."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

import msgspec

from routing.observability.events import Observer, RequestFinished

FLUSH_SECONDS: Final = 0.1
"""How long a line may wait for others."""
MAX_WAITING: Final = 10_000
"""Lines kept for a slow reader of the log; beyond that they are counted and dropped."""

_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))}


class AccessLog(Observer):
    """An Observer that writes to `stream`, as JSON or for the console. Bodies, queries and credentials never appear."""

    def __init__(self, log_format: str, stream: TextIO = sys.stdout) -> None:
        self._line = _json if log_format == "json" else _console
        self._stream = stream
        self._waiting: list[str] = []
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None

    def finished(self, event: RequestFinished) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
            return
        self._waiting.append(self._line(event))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what waits. At shutdown too, so that the last requests are on record."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        lines, self._waiting = self._waiting, []
        if self._dropped:
            lines.append(f'{{"dropped_lines":{self._dropped}}}\n')
            self._dropped = 0
        self._stream.write("".join(lines))
        self._stream.flush()


def _json(event: RequestFinished) -> str:
    fields = msgspec.structs.asdict(event)
    fields["at"] = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
    fields["duration"] = round(event.duration, 6)
    if event.backend is not None:
        fields["backend"] = round(event.backend, 6)
    return msgspec.json.encode(fields).decode() + "\n"


def _console(event: RequestFinished) -> str:
    clock = datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S")
    notes = " ".join(note for note in (event.cache, event.code, event.circuit, event.aborted) if note)
    path = event.path.translate(_CONTROL)
    return f"{clock} {event.status} {event.method} {path} {event.duration * 1000:.1f}ms {event.caller or '-'} {notes}\n"
