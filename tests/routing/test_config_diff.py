"""`manage.py config diff`: exit statuses for pipelines, against the database and a running gateway."""

import contextlib
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from routing.database.apply import apply_document

pytestmark = pytest.mark.django_db

CRM = {"targets": [{"url": "http://a"}], "timeout": {"read": "10s"}}
FILE = {"version": 1, "services": {"crm": CRM}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.yaml"


def diff(file: Path, document: Any, *options: str, status: int) -> str:
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    out = io.StringIO()
    expected = pytest.raises(SystemExit) if status else contextlib.nullcontext()
    with expected as exit_:
        call_command("config", "diff", str(file), *options, stdout=out, stderr=io.StringIO())
    assert exit_ is None or exit_.value.code == status
    return out.getvalue()


def failure(file: Path, document: Any, *options: str) -> str:
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(CommandError) as error:
        call_command("config", "diff", str(file), *options, stdout=io.StringIO(), stderr=io.StringIO())
    assert error.value.returncode == 2
    return str(error.value)


def test_the_database_as_json(file: Path) -> None:
    apply_document({**FILE, "plans": {"free": {"rate": "5/m"}}, "teams": {"a": {}}})
    wanted = {"version": 1, "services": {"crm": {**CRM, "timeout": {"read": "5s"}}, "new": CRM}}
    assert json.loads(diff(file, wanted, "--json", status=1)) == {
        "different": True,
        "created": {"new": CRM},
        "changed": {"crm": [{"pointer": "/services/crm/timeout/read", "old": "10s", "new": "5s"}]},
        "deleted": {"plan free": {"rate": "5/m"}},
    }
    same = {**FILE, "plans": {"free": {"rate": "5/m"}}}
    assert json.loads(diff(file, same, "--json", status=0)) == {
        "different": False,
        "created": {},
        "changed": {},
        "deleted": {},
    }
    assert diff(file, same, status=0) == "no differences\n"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_fault_is_no_difference(file: Path, options: tuple[str, ...]) -> None:
    assert "services.crm.auth" in failure(file, {"version": 1, "services": {"crm": {**CRM, "auth": "x"}}}, *options)
    assert "not valid YAML" in failure(file, "a: b: c", *options)
    file.unlink()
    with pytest.raises(CommandError) as error:
        call_command("config", "diff", str(file), *options)
    assert error.value.returncode == 2


class FakeGateway(ThreadingHTTPServer):
    """Answers every request in one way, and keeps the last one."""

    answer: tuple[int, dict[str, str], bytes] = (500, {}, b"")
    path = ""
    sent: Any = None
    fields: Any = None


class Handler(BaseHTTPRequestHandler):
    server: FakeGateway

    def do_PUT(self) -> None:
        self.server.path, self.server.fields = self.path, self.headers
        self.server.sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def remote() -> Iterator[FakeGateway]:
    server = FakeGateway(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(remote: FakeGateway) -> str:
    return f"http://127.0.0.1:{remote.server_address[1]}"


REPORT = {
    "dry_run": True,
    "created": {"new": CRM},
    "changed": {"crm": [{"pointer": "/services/crm/auth", "old": None, "new": "none"}]},
    "deleted": {"mail": CRM},
    "warnings": [],
}


def test_a_running_gateway_reports_the_differences_of_a_dry_run(
    file: Path, remote: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_KEY", "gw_key")
    remote.answer = (200, {"Content-Type": "application/json"}, json.dumps(REPORT).encode())
    lines = diff(file, FILE, "--url", url(remote), status=1).splitlines()
    assert lines == ["+ new", "~ crm", "    /services/crm/auth: (none) -> none", "- mail"]
    assert remote.path == "/api/config?dry_run=1&prune=1&allow_missing_secrets=1"
    assert (remote.fields["X-API-Key"], remote.fields["If-Match"], remote.sent) == ("gw_key", "*", FILE)
    found = json.loads(diff(file, FILE, "--url", f"{url(remote)}/api/config/", "--json", status=1))
    assert found == {"different": True, **{name: REPORT[name] for name in ("created", "changed", "deleted")}}
    nothing = {**REPORT, "created": {}, "changed": {}, "deleted": {}}
    remote.answer = (200, {}, json.dumps(nothing).encode())
    assert diff(file, FILE, "--url", url(remote), status=0) == "no differences\n"


def test_the_key_may_be_in_a_file_or_an_option(file: Path, remote: FakeGateway, tmp_path: Path) -> None:
    remote.answer = (200, {}, json.dumps(REPORT).encode())
    key = tmp_path / "key"
    key.write_text("gw_file\n")
    diff(file, FILE, "--url", url(remote), "--key-file", str(key), status=1)
    assert remote.fields["X-API-Key"] == "gw_file"
    diff(file, FILE, "--url", url(remote), "--key", "gw_option", status=1)
    assert remote.fields["X-API-Key"] == "gw_option"
    assert "needs an API key" in failure(file, FILE, "--url", url(remote))


def problem(status: int, code: str, **more: Any) -> tuple[int, dict[str, str], bytes]:
    return status, {}, json.dumps({"status": status, "code": code, "detail": "why", **more}).encode()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (problem(401, "unauthenticated"), "401 unauthenticated: why"),
        (problem(403, "forbidden"), "403 forbidden: why"),
        (
            problem(400, "invalid_request", errors=[{"pointer": "/services/crm/auth", "detail": "wrong"}]),
            "/services/crm/auth: wrong",
        ),
        ((302, {"Location": "https://evil.example/"}, b""), "redirects to https://evil.example/"),
        ((404, {}, b"<html>"), "status 404"),
        ((200, {}, b"<html>"), "is not that of a gateway"),
        ((200, {}, b"[]"), "is not that of a gateway"),
        ((200, {}, b'{"created": {}}'), "is not that of a gateway"),
    ],
)
def test_what_a_gateway_refuses_is_an_error(
    file: Path, remote: FakeGateway, answer: tuple[int, dict[str, str], bytes], message: str
) -> None:
    remote.answer = answer
    assert message in failure(file, FILE, "--url", url(remote), "--key", "gw_secret")


def test_no_gateway_is_an_error_that_does_not_show_the_key(file: Path) -> None:
    for address in (
        "http://127.0.0.1:1",
        "ftp://a",
        "nonsense",
        "http://",
        "http://ops:hunter2@127.0.0.1:1",
        "http://[a",
    ):
        message = failure(file, FILE, "--url", address, "--key", "gw_secret")
        assert "gw_secret" not in message
        assert "hunter2" not in message
    assert failure(file, FILE, "--url", "127.0.0.1:8000", "--key", "gw_secret").startswith("--url must be")


@pytest.mark.parametrize("key", ["gw_secret\nmore", "gw_secret more", "gw_s€cret", "gw_secret\x00"])
def test_a_key_that_is_none_is_not_shown(file: Path, remote: FakeGateway, key: str) -> None:
    """A client's error of a header field shows the field, and a pipeline's log keeps it."""
    message = failure(file, FILE, "--url", url(remote), "--key", key)
    assert message == "the API key has a character that no key has"


def test_a_key_may_end_with_a_line_break(file: Path, remote: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.answer = 200, {}, json.dumps({"created": {}, "changed": {}, "deleted": {}}).encode()
    monkeypatch.setenv("GATEWAY_KEY", "gw_secret\r\n")
    assert diff(file, FILE, "--url", url(remote), status=0) == "no differences\n"
    assert remote.fields["X-API-Key"] == "gw_secret"
