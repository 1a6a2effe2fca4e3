"""Log records as JSON, and errors that nobody catches."""

import io
import logging
import sys
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, ProgrammingError

from gateway_project.django_settings.databases import missing_table
from gateway_project.logs import capture
from gateway_project.logs.configuration import Outage, configuration
from gateway_project.logs.formatter import JsonFormatter
from tests.logschema import lines


def formatted(record: logging.LogRecord) -> dict[str, Any]:
    (line,) = lines(JsonFormatter().format(record))
    return line


def record(message: object, *arguments: object, **more: Any) -> logging.LogRecord:
    return logging.LogRecord("routing.x", logging.WARNING, "x.py", 1, message, arguments, more.pop("exc_info", None))


class Unprintable:
    """What a library might log, and have in an exception."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_record_is_one_line_with_its_traceback() -> None:
    try:
        raise KeyError("a\nb")
    except KeyError:
        fields = formatted(record("%s failed\ntwice \udc80", "it", exc_info=sys.exc_info()))
    assert (fields["level"], fields["logger"]) == ("warning", "routing.x")
    assert fields["message"] == "it failed\ntwice \\udc80"
    assert fields["traceback"].splitlines()[-1] == "KeyError: 'a\\nb'"
    assert fields["path"] == ""
    request = record("Not Found")
    request.request = SimpleNamespace(path="/admin/x")
    assert formatted(request)["path"] == "/admin/x"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (record("%d of %d", "one"), "%d of %d ('one',)"),
        (record("%s", b"\xff\xfe"), r"b'\xff\xfe'"),
        (record(b"\xff"), r"b'\xff'"),
        (record({"a": float("nan")}), "{'a': nan}"),
        (record("nul\0 \u2028 \x1b[31m"), "nul\0 \u2028 \x1b[31m"),
        (record("%s", Unprintable()), "a message that cannot be formatted: RuntimeError"),
        (record(Unprintable()), "a message that cannot be formatted: RuntimeError"),
        (record("x" * 100_000), f"{'x' * 4096} ... 91808 characters left out ... {'x' * 4096}"),
    ],
    ids=range(8),
)
def test_a_record_of_any_form_is_a_line(found: logging.LogRecord, message: str) -> None:
    assert formatted(found)["message"] == message


def test_levels_of_libraries_and_unprintable_errors_are_written() -> None:
    own = record("x")
    own.levelno, own.levelname = 35, "NOTICE"
    assert formatted(own)["level"] == "warning"
    error = UnprintableError()
    fields = formatted(record("failed", exc_info=(UnprintableError, error, None)))
    assert "UnprintableError" in fields["traceback"]

    def recurse() -> None:
        recurse()

    try:
        recurse()
    except RecursionError:
        assert len(formatted(record("deep", exc_info=sys.exc_info()))["traceback"]) < 2 * 16_384


def test_what_is_printed_is_a_line_for_each_line() -> None:
    stream = io.StringIO()
    stderr = capture.JsonLines(stream)
    print("usage: x\n  more", "here", file=stderr)
    stderr.write("no end ")
    stderr.write("yet\r\n\n")
    stderr.write("\udcff of an argument")
    stderr.finish()
    assert [(line["logger"], line["message"]) for line in lines(stream.getvalue())] == [
        ("stderr", "usage: x"),
        ("stderr", "  more here"),
        ("stderr", "no end yet"),
        ("stderr", "\\udcff of an argument"),
    ]


def test_uncaught_errors_are_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("bad")
    capture._log_uncaught(ValueError, error, None)
    capture._log_uncaught(KeyboardInterrupt, KeyboardInterrupt(), None)
    capture._log_uncaught(UnprintableError, UnprintableError(), None)
    assert [each.getMessage() for each in caplog.records] == [
        "ValueError: bad",
        "UnprintableError: its text cannot be formatted: RuntimeError",
    ]


@pytest.mark.parametrize(
    ("arguments", "variables", "is_terminal", "expected"),
    [
        (["manage.py", "rungateway"], {}, False, True),
        (["manage.py", "rungateway"], {"LOG_FORMAT": "console"}, False, False),
        (["manage.py", "rungateway"], {"DEBUG": "1"}, False, False),
        (["manage.py", "serve"], {}, False, True),
        (["manage.py", "serve"], {}, True, False),
        (["manage.py", "serve"], {"LOG_FORMAT": "json"}, True, True),
        (["manage.py", "migrate"], {}, False, False),
        (["manage.py"], {}, False, False),
    ],
)
def test_only_servers_that_write_json_capture_stderr(
    arguments: list[str],
    variables: dict[str, str],
    is_terminal: bool,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(capture, "log_uncaught_errors", lambda: None)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    capture.begin(arguments, variables)
    assert isinstance(sys.stderr, capture.JsonLines) is expected
    assert (variables.get("LOG_FORMAT") == "console") is (not expected and "console" in variables.values())


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


def test_an_outage_of_redis_is_one_warning_a_minute_and_other_errors_are_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """channels-redis logs a traceback each second in each worker."""
    now = 1_000.0
    monkeypatch.setattr("gateway_project.logs.configuration.time", SimpleNamespace(monotonic=lambda: now))
    outage = Outage("away (%s)", (ConnectionRefusedError,))

    def passed(error: Exception) -> logging.LogRecord | None:
        made = record("in a task", exc_info=(type(error), error, None))
        return made if outage.filter(made) else None

    first = passed(ConnectionRefusedError())
    assert first is not None
    assert (first.getMessage(), first.exc_info, first.levelname) == ("away (ConnectionRefusedError)", None, "WARNING")
    assert passed(ConnectionRefusedError()) is None
    other = passed(ValueError("no message"))
    assert other is not None
    assert (other.getMessage(), other.exc_info is not None) == ("in a task", True)
    now += 60
    assert passed(ConnectionRefusedError()) is not None


def test_the_channel_layers_outages_are_filtered() -> None:
    found = configuration("json")
    assert found["handlers"][found["loggers"]["channels_redis"]["handlers"][0]]["filters"] == ["channels"]
