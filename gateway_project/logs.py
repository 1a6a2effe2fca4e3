"""What the gateway writes to stderr: lines for people, or one JSON object for each event.

Imports nothing of Django's, since it also reports why Django cannot be set up.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

REPEAT_SECONDS: Final = 60.0
LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
log = logging.getLogger(__name__)


class WithoutTraceback(logging.Filter):
    """Drop the traceback, which says nothing about a mistake in a client's request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, with its traceback.

    `path` is that of the request that a line of Django's is about, as in the access log; otherwise it is empty.
    """

    def format(self, record: logging.LogRecord) -> str:
        request = getattr(record, "request", None)
        fields: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            "path": str(getattr(request, "path", "")),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = record.stack_info
        return json.dumps(fields)


def configuration(log_format: str) -> dict[str, Any]:
    """Django's LOGGING setting."""
    line = {"()": JsonFormatter} if log_format == "json" else {"format": LINE}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "filters": {"plain": {"()": WithoutTraceback}, "cache": {"()": CacheOutage}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
            "plain": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["plain"]},
            "cache": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["cache"]},
            "null": {"class": "logging.NullHandler"},
        },
        "loggers": {
            "django": {"handlers": [], "level": "INFO"},  # under DEBUG, Django's own handler would write them again
            "django_redis.cache": {"handlers": ["cache"], "propagate": False},
            "django.security": {"handlers": ["plain"], "propagate": False},
            # Any client can send any Host: scanners would fill the log.
            "django.security.DisallowedHost": {"handlers": ["null"], "propagate": False},
        },
        "root": {"handlers": ["stderr"], "level": "INFO"},
    }


def log_uncaught_errors() -> None:
    """Log what Python would write to stderr by itself: uncaught exceptions, of threads too, and warnings."""
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # of handlers, if stderr is closed
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda uncaught: _log_uncaught(uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback)
    sys.unraisablehook = lambda ignored: _log_uncaught(ignored.exc_type, ignored.exc_value, ignored.exc_traceback)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if error is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
        log.error("%s: %s", kind.__name__, error, exc_info=(kind, error, traceback))


def write_error(message: str, environment: Mapping[str, str], *, is_json: bool) -> None:
    """Write an error before logging is set up: as JSON if LOG_FORMAT, or its default, says so and `is_json`."""
    is_json = is_json and _log_format(environment) == "json"
    if is_json:
        record = logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, None, None)
        message = JsonFormatter().format(record)
    sys.stderr.write(f"{message}\n")


def _log_format(environment: Mapping[str, str]) -> str:
    is_debug = environment.get("DEBUG", "").strip().lower() in ("1", "true", "yes", "on")
    return environment.get("LOG_FORMAT", "").strip() or ("console" if is_debug else "json")


class CacheOutage(logging.Filter):
    """Of the errors that django-redis ignores, log what happened, at most once in REPEAT_SECONDS."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + REPEAT_SECONDS
        error = record.exc_info[1] if record.exc_info else None
        cause = getattr(error, "__cause__", None) or error
        record.msg, record.args = "Django's cache is unavailable or malformed (%s)", (type(cause).__name__,)
        record.exc_info = None
        return True
