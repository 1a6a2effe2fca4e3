"""Log records as JSON, whatever they contain. docs/logs.md describes the fields."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MAX_MESSAGE: Final = 8_192
MAX_TRACEBACK: Final = 16_384
"""The most characters of a message, and of a traceback or stack. The middle of a longer one is left out."""
_LEVELS: Final = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, with its traceback. Never raises.

    `path` is that of the request that a line of Django's is about, as in the access log; otherwise it is empty.
    """

    def format(self, record: logging.LogRecord) -> str:
        request = getattr(record, "request", None)
        fields: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": _level(record.levelno),
            "logger": record.name,
            "process": record.process,
            "message": shorten(_message(record), MAX_MESSAGE),
            "path": shorten(attempt(lambda: str(getattr(request, "path", "")), "unknown"), MAX_MESSAGE),
        }
        if record.exc_info:
            formatted = partial(self.formatException, record.exc_info)
            fields["traceback"] = shorten(attempt(formatted, "the traceback cannot be formatted"), MAX_TRACEBACK)
        if record.stack_info:
            fields["stack"] = shorten(record.stack_info, MAX_TRACEBACK)
        return json.dumps({name: _encodable(value) for name, value in fields.items()})


def shorten(text: str, limit: int) -> str:
    """The beginning and the end of a text that is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"


def attempt(text: Callable[[], str], instead: str) -> str:
    """`instead`, with the error's kind, if the text cannot be made: records of libraries may contain anything."""
    try:
        return text()
    except Exception as error:  # noqa: BLE001 - of whatever a record contains; the line says so
        return f"{instead}: {type(error).__name__}"


def _message(record: logging.LogRecord) -> str:
    """The message, with its arguments appended if they do not fit it, so that no record is lost."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - the arguments follow
        return attempt(lambda: f"{record.msg!s} {record.args!r}", "a message that cannot be formatted")


def _level(number: int) -> str:
    """The nearest of the five names below: libraries have levels of their own."""
    return next((name for at_least, name in _LEVELS if number >= at_least), "debug")


def _encodable(value: object) -> object:
    r"""Bytes that are no UTF-8 are surrogates in Python's texts, which many parsers refuse: they become `\udcff`."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
