"""Django's LOGGING setting, and what is left out of the log."""

import logging
import sys
import time
from typing import Any, Final, TextIO

from gateway_project.logs.capture import original
from gateway_project.logs.formatter import LINE, JsonFormatter

REPEAT_SECONDS: Final = 60.0


def configuration(log_format: str) -> dict[str, Any]:
    """The setting, for LOG_FORMAT."""
    line = {"()": JsonFormatter} if log_format == "json" else {"format": LINE}
    stderr = {"()": StderrHandler, "formatter": "line"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": line},
        "filters": {"plain": {"()": WithoutTraceback}, "cache": {"()": CacheOutage}},
        "handlers": {
            "stderr": stderr,
            "plain": {**stderr, "filters": ["plain"]},
            "cache": {**stderr, "filters": ["cache"]},
            "null": {"class": "logging.NullHandler"},
        },
        "loggers": {
            "django": {"handlers": [], "level": "INFO"},  # under DEBUG, Django's own handler would write them again
            "django_redis.cache": {"handlers": ["cache"], "propagate": False},
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


class CacheOutage(logging.Filter):
    """Log the errors that django-redis ignores, at most once in REPEAT_SECONDS."""

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
