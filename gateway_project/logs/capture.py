"""Turns what libraries and Python write to stderr into log records, from the first import on."""

import atexit
import io
import logging
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Final, TextIO

from gateway_project.logs.formatter import JsonFormatter, attempt

SERVE: Final = "serve"
SERVERS: Final = ("rungateway", SERVE)
"""The commands that run the gateway."""
MAX_UNFINISHED: Final = 65_536
"""The most characters that are kept of a line whose end has not been written."""
log = logging.getLogger(__name__)


def begin(arguments: list[str], environment: MutableMapping[str, str]) -> None:
    """Capture stderr, for servers that write JSON. Call it before any import that may fail or warn. At a terminal,
    `serve` writes plain lines.
    """
    command = arguments[1] if len(arguments) > 1 else ""
    if command not in SERVERS or sys.stderr is None:
        return
    if command == SERVE and sys.stderr.isatty():
        environment.setdefault("LOG_FORMAT", "console")
    if log_format(environment) != "json" or isinstance(sys.stderr, JsonLines):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    sys.stderr = lines = JsonLines(sys.stderr)
    atexit.register(lines.finish)
    log_uncaught_errors()


def log_format(environment: MutableMapping[str, str]) -> str:
    """LOG_FORMAT or its default, before the environment has been checked."""
    is_debug = environment.get("DEBUG", "").strip().lower() in ("1", "true", "yes", "on")
    return environment.get("LOG_FORMAT", "").strip() or ("console" if is_debug else "json")


def log_uncaught_errors() -> None:
    """Log what Python would write to stderr by itself: uncaught exceptions, of threads too, and warnings."""
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # of handlers, if stderr is closed
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda uncaught: _log_uncaught(uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback)
    sys.unraisablehook = lambda ignored: _log_uncaught(ignored.exc_type, ignored.exc_value, ignored.exc_traceback)


def write_error(message: str, environment: MutableMapping[str, str], *, is_json: bool) -> None:
    """Write an error that ends the process: as JSON if LOG_FORMAT, or its default, says so and `is_json`."""
    if is_json and log_format(environment) == "json":
        record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, None, None)
        message = JsonFormatter().format(record)
    original(sys.stderr).write(f"{message}\n")


class JsonLines(io.TextIOBase):
    """A stream that writes each line printed to it as one JSON object. Threads may share it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._unfinished = ""
        self._lock = threading.RLock()
        self._formatter = JsonFormatter()

    @property
    def encoding(self) -> str:  # type: ignore[override] # an attribute of the class that this one extends
        return self.stream.encoding

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, unfinished = (self._unfinished + text).splitlines(keepends=True) or [""]
            if unfinished.endswith("\n") or len(unfinished) > MAX_UNFINISHED:
                lines, unfinished = [*lines, unfinished], ""
            self._unfinished = unfinished
            for line in lines:
                self._write(line)
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def finish(self) -> None:
        """Write what has no end of line yet."""
        with self._lock:
            self._write(self._unfinished)
            self._unfinished = ""

    def _write(self, line: str) -> None:
        if line.strip():
            record = logging.LogRecord("stderr", logging.ERROR, __file__, 0, "%s", (line.rstrip(),), None)
            self.stream.write(f"{self._formatter.format(record)}\n")


def original(stream: TextIO) -> TextIO:
    """The stream itself, which takes lines that are formatted already."""
    return stream.stream if isinstance(stream, JsonLines) else stream


def _log_uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if error is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
        text = attempt(lambda: str(error), "its text cannot be formatted")
        log.error("%s: %s", kind.__name__, text, exc_info=(kind, error, traceback))
