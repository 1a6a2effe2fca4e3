"""Log records as JSON, and errors that nobody catches."""

import json
import logging
import sys
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, ProgrammingError

from gateway_project import logs
from gateway_project.django_settings.databases import missing_table


def formatted(record: logging.LogRecord) -> dict[str, Any]:
    text = logs.JsonFormatter().format(record)
    assert "\n" not in text
    fields: dict[str, Any] = json.loads(text)
    return fields


def record(message: str, *arguments: object, **more: Any) -> logging.LogRecord:
    return logging.LogRecord("routing.x", logging.WARNING, "x.py", 1, message, arguments, more.pop("exc_info", None))


def test_a_record_is_one_line_with_its_traceback() -> None:
    try:
        raise KeyError("a\nb")
    except KeyError:
        fields = formatted(record("%s failed\ntwice \udc80", "it", exc_info=sys.exc_info()))
    assert (fields["level"], fields["logger"], fields["message"]) == ("warning", "routing.x", "it failed\ntwice \udc80")
    assert fields["traceback"].splitlines()[-1] == "KeyError: 'a\\nb'"
    assert fields["path"] == ""
    request = record("Not Found")
    request.request = SimpleNamespace(path="/admin/x")
    assert formatted(request)["path"] == "/admin/x"


def test_uncaught_errors_are_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("bad")
    logs._log_uncaught(ValueError, error, None)
    logs._log_uncaught(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert [each.getMessage() for each in caplog.records] == ["ValueError: bad"]


@pytest.mark.parametrize(
    ("error", "cause", "found"),
    [
        (OperationalError("no such table: routing_service"), None, "the table routing_service"),
        (OperationalError("no such column: routing_service.x"), None, "the column routing_service.x"),
        (OperationalError("database is locked"), None, None),
        (
            ProgrammingError("x"),
            psycopg.errors.UndefinedTable('relation "routing_service" does not exist\nLINE 1: ...'),
            "the table routing_service",
        ),
        (
            ProgrammingError("x"),
            psycopg.errors.UndefinedColumn("column routing_service.x does not exist"),
            "the column routing_service.x",
        ),
        (ProgrammingError("x"), psycopg.errors.SyntaxError('relation "a"'), None),
    ],
)
def test_a_missing_table_is_named(error: Exception, cause: Exception | None, found: str | None) -> None:
    error.__cause__ = cause
    assert missing_table(error) == found
