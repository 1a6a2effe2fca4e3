"""Django's LOGGING setting, and what is left out of the log."""

import logging
import sys
import time
from typing import Any, Final, TextIO

from gateway_project.logs.capture import original
from gateway_project.logs.formatter import LINE, JsonFormatter
from resilience.redis_client import FAILURES

REPEAT_SECONDS: Final = 60.0


def configuration(log_format: str) -> dict[str, Any]:
    """The setting, for LOG_FORMAT."""
    line = {"()": JsonFormatter} if log_format == "json" else {"format": LINE}
    stderr = {"()": StderrHandler, "formatter": "line"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "filters": {
            "plain": {"()": WithoutTraceback},
            "cache": {"()": Outage, "message": "Django's cache is unavailable or malformed (%s)"},
            "channels": {"()": Outage, "message": "the dashboard is not updated live (%s)", "kinds": FAILURES},
        },
        "handlers": {
            "stderr": stderr,
            "plain": {**stderr, "filters": ["plain"]},
            "cache": {**stderr, "filters": ["cache"]},
            "channels": {**stderr, "filters": ["channels"]},
            "null": {"class": "logging.NullHandler"},
        },
        "loggers": {
            "django": {"handlers": [], "level": "INFO"},  # under DEBUG, Django's own handler would write them again
            "django_redis.cache": {"handlers": ["cache"], "propagate": False},
            # Each worker tries once a second.
            "channels_redis": {"handlers": ["channels"], "propagate": False},
            "django.security": {"handlers": ["plain"], "propagate": False},
            # Any client can send any Host: scanners would fill the log.
            "django.security.DisallowedHost": {"handlers": ["null"], "propagate": False},
            # metrics/tracing.py reports what it cannot export: the SDK would do so for each attempt.
            "opentelemetry.exporter": {"handlers": ["null"], "propagate": False},
            "opentelemetry.sdk._shared_internal": {"handlers": ["null"], "propagate": False},
        },
        "root": {"handlers": ["stderr"], "level": "INFO"},
    }


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes lines that are formatted already to stderr."""

    def __init__(self) -> None:
        super().__init__(original(sys.stderr))


class WithoutTraceback(logging.Filter):
    """Drop the traceback, which says nothing about a mistake in a client's request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True


class Outage(logging.Filter):
    """Log `message` with the cause, at most once in REPEAT_SECONDS, in place of errors of an unavailable Redis.

    `kinds` are those errors; others are logged as they are.
    """

    def __init__(self, message: str, kinds: tuple[type[BaseException], ...] = (BaseException,)) -> None:
        super().__init__()
        self._message = message
        self._kinds = kinds
        self._next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, self._kinds):
            return True
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + REPEAT_SECONDS
        cause = getattr(error, "__cause__", None) or error
        record.msg, record.args = self._message, (type(cause).__name__,)
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = None
        return True
