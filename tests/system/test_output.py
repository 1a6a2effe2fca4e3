"""What commands and the gateway write: JSON on stderr, no traceback for what is no fault of theirs."""

import json
import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.logschema import lines
from tests.ports import free_port
from tests.processes import eventually
from tests.system.conftest import Seed
from tests.system.server import PYTHON, ROOT, STOP_SECONDS, Server, document

MIGRATE = "run `manage.py migrate` first\n"


def manage(
    command: str, environment: dict[str, str], shell: str = "", stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of manage.py, `shell` appended. Its exit status is that of manage.py, also in a pipe."""
    line = f"set -o pipefail; {' '.join(PYTHON)} {command} {shell}"
    return subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=environment, input=stdin, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def empty() -> Any:
    """A gateway that was never started: its database has no tables."""
    server = Server()
    yield server
    server.close()


@pytest.mark.parametrize("command", ["config export", "config apply -", "apikey list", "clearsessions"])
def test_a_command_without_tables_says_in_one_line_to_migrate(empty: Server, command: str) -> None:
    done = manage(command, empty.environment, stdin=document({"crm": {"targets": [{"url": "http://a"}]}}))
    assert (done.returncode, done.stderr.count("\n"), done.stderr.endswith(MIGRATE)) == (1, 1, True), done.stderr
    assert "the database lacks the table " in done.stderr


@pytest.mark.parametrize("command", ["config export", "apikey list", "createsuperuser --no-input --username ann"])
def test_a_command_without_a_database_says_so_in_one_line(empty: Server, command: str) -> None:
    away = empty.environment | {"DATABASE_URL": f"postgresql://gateway@127.0.0.1:{free_port()}/gateway"}
    done = manage(command, away)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("the database is unavailable: connection failed: ")
    name, *more = command.split()
    assert "Traceback" in manage(" ".join([name, "--traceback", *more]), away).stderr


@pytest.mark.parametrize("command", ["rungateway", "serve"])
def test_a_database_in_memory_is_refused_in_one_line(empty: Server, command: str) -> None:
    done = manage(command, empty.environment | {"DATABASE_URL": "sqlite://:memory:"})
    assert done.returncode == 1
    message = done.stderr if done.stderr.startswith("CommandError") else json.loads(done.stderr)["message"]
    assert "DATABASE_URL: workers do not share a database in memory" in message


def test_a_broken_pipe_is_silent(seed: Seed) -> None:
    server = Server(seed=seed.database, environment={"PYTHONUNBUFFERED": ""})
    try:
        services = {f"service{number}": {"targets": [{"url": "http://a"}]} for number in range(200)}
        assert manage("config apply -", server.environment, "| true", document(services)).stderr == ""
        for unbuffered, reader in (("", "true"), ("1", "true"), ("1", "head -1")):
            done = manage("config export", {**server.environment, "PYTHONUNBUFFERED": unbuffered}, f"| {reader}")
            assert (done.returncode in (0, 141), done.stderr) == (True, "")
        assert "Traceback" not in manage("apikey list", server.environment, ">&-").stderr
    finally:
        server.close()


def test_names_are_written_whatever_the_encoding_of_the_output_is(seed: Seed) -> None:
    server = Server(seed=seed.database)
    try:
        latin = {**server.environment, "PYTHONIOENCODING": "latin-1"}
        services = {"crm": {"targets": [{"url": "http://a"}], "labels": {"team": "Zoë"}}}
        assert manage("config apply -", latin, stdin=document(services)).returncode == 0
        file = server.directory / "gateway.yaml"
        assert manage("config export", latin, f"> {file}").returncode == 0
        assert "Zoë" in file.read_text(encoding="utf-8")
        assert manage(f"config apply {file}", latin).stdout == "nothing to change\n"
        done = manage("apikey create Łódź --scope crm", {**server.environment, "PYTHONIOENCODING": "ascii"})
        assert (done.returncode, "Created Łódź" in done.stdout) == (0, True), done.stderr
    finally:
        server.close()


def test_a_full_disk_is_one_line(seed: Seed) -> None:
    server = Server(seed=seed.database)
    try:
        for command in ("config export", "apikey create a --all-services", "doctor --json", "backup -"):
            done = manage(command, server.environment, "> /dev/full")
            last = done.stderr.splitlines()[-1]
            assert (done.returncode, last.endswith(": No space left on device")) == (1, True), done.stderr
            assert "Traceback" not in done.stderr
        found = json.loads(manage("apikey list --json", server.environment).stdout)
        assert [key["state"] for key in found if key["name"] == "a"] == ["revoked"]  # nobody has seen it
    finally:
        server.close()


def test_a_closed_input_is_an_empty_one(empty: Server) -> None:
    done = manage("config validate -", empty.environment, "<&-")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "must be a mapping" in done.stderr


def test_a_file_that_is_no_database_is_one_line(empty: Server) -> None:
    (file := empty.directory / "no.sqlite3").write_text("version: 1\nservices: {}\n" * 100)
    done = manage("apikey list", {**empty.environment, "DATABASE_URL": f"sqlite:///{file}"})
    expected = "the database cannot be used: file is not a database; restore a backup of it\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_an_argument_that_is_no_utf_8_is_refused_in_one_line(seed: Seed) -> None:
    server = Server(seed=seed.database)
    try:
        done = manage("apikey list $'\\377'", server.environment)
        assert (done.returncode, done.stderr) == (1, "an argument is not UTF-8\n")
    finally:
        server.close()


@pytest.mark.parametrize("pause", [0.2, 3.0])
def test_ctrl_c_ends_a_command_without_a_traceback(seed: Seed, pause: float) -> None:
    server = Server(seed=seed.database)
    command = subprocess.Popen(
        # What a shell without job control runs in the background ignores SIGINT, and so does what that starts.
        ["env", "--default-signal=INT", *PYTHON, "config", "apply", "-"],
        cwd=ROOT,
        env=server.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        time.sleep(pause)
        command.send_signal(signal.SIGINT)
        assert command.communicate(timeout=STOP_SECONDS) == ("", "")
        assert command.returncode == -signal.SIGINT
    finally:
        command.kill()
        server.close()


def test_faults_before_the_start_are_json(empty: Server) -> None:
    environment = {**empty.environment, "PORT": "x", "RATE_LIMIT": "y"}
    done = manage("rungateway", environment)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (done.returncode, line["level"]) == (1, "error")
    assert "PORT: 'x' is not an integer" in line["message"]
    assert "RATE_LIMIT: 'y' is not a rate" in line["message"]
    assert manage("rungateway", {**environment, "LOG_FORMAT": "console"}).stderr.startswith("Invalid environment:\n")
    done = manage("rungateway --port 0", empty.environment)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (done.returncode, line["message"]) == (1, "CommandError: PORT: '0' is not an integer from 1 to 65535")


CRASHES = {
    "a module that is missing": ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    "a syntax error": ("def (:\n", "SyntaxError"),
    "bytes that are no UTF-8": ("x = '\udcff'\n", "SyntaxError"),
    "a warning": ("import warnings\nwarnings.warn('two\\nlines')\nraise SystemExit(1)\n", "UserWarning: two\nlines"),
    "an exit with a text": ("raise SystemExit('stopped: \\udcff')\n", "stopped: \\udcff"),
    "prints": ("import sys\nprint('a library says', file=sys.stderr)\nraise SystemExit(1)\n", "a library says"),
    "a thread": (
        "import threading\nthread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()\n"
        "raise SystemExit(1)\n",
        "ZeroDivisionError: division by zero",
    ),
    "a logger of a library": (
        "import logging\nlog = logging.getLogger('uvicorn.error')\n"
        "log.warning('Invalid HTTP request\\nreceived: %d', 'x')\nraise SystemExit(1)\n",
        "Invalid HTTP request\nreceived: %d ('x',)",
    ),
    "an object that fails as it is deleted": (
        "class A:\n    def __del__(self):\n        raise OSError('late')\nA()\nraise SystemExit(1)\n",
        "OSError: late",
    ),
}
"""Settings that fail while they are imported, and what is logged."""


@pytest.mark.parametrize("settings", CRASHES.values(), ids=list(CRASHES))
def test_a_crash_at_import_is_json(settings: tuple[str, str], tmp_path: Path) -> None:
    text, expected = settings
    (tmp_path / "crashing.py").write_text(text, errors="surrogateescape")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "crashing"}
    done = manage("rungateway --workers 2", environment)
    assert done.returncode == 1
    found = lines(done.stderr)
    assert expected in "\n".join(f"{line['message']}\n{line.get('traceback', '')}" for line in found)


def test_wrong_options_are_json(empty: Server) -> None:
    done = manage("rungateway --no-such-option", empty.environment)
    assert done.returncode == 2
    assert "unrecognized arguments: --no-such-option" in lines(done.stderr)[-1]["message"]


class Piped:
    """A gateway whose stdout nobody reads after `ready`, and whose stderr is a file of its own."""

    def __init__(self, server: Server, errors: Path) -> None:
        self._server, self._errors = server, errors

    def __enter__(self) -> "Piped":
        environment = {**self._server.environment, "GATEWAY_CONFIG": str(self._server.directory / "gateway.yaml")}
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*PYTHON, "rungateway", "--port", str(self._server.port)],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.process.stdout.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(STOP_SECONDS)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has written to stderr: each line is JSON."""
        return lines(self._errors.read_text())


def abandon(port: int, path: str, pause: float) -> None:
    """Request a page, and reset the connection."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(pause)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_stderr_of_a_gateway_is_json_and_clients_and_readers_that_go_leave_no_traceback(seed: Seed) -> None:
    server = Server(seed=seed.database)
    broken = {"headers": {"X-A": "env:GATEWAY_SECRET_FORGOTTEN"}}
    targets = {"targets": [{"url": "http://127.0.0.1:9"}]}
    (server.directory / "gateway.yaml").write_text(document({"good": targets, "broken": {**targets, **broken}}))
    try:
        with Piped(server, server.directory / "errors") as gateway:
            for path in ("/admin/login/", "/api/schema", "/api/docs", "/static/unfold/css/styles.css"):
                for pause in (0.0, 0.02, 0.1):
                    abandon(server.port, path, pause)
            for _ in range(3):
                assert server.get("/api/v1/good/x").status_code == 401
                time.sleep(0.15)  # longer than the access log is buffered
            for worker in server_workers(gateway.process.pid):
                os.kill(worker, 9)
            assert eventually(lambda: any("is replaced" in line["message"] for line in gateway.lines))
            assert eventually(lambda: ready(server))
            messages = [line["message"] for line in gateway.lines]
            assert any("gateway.yaml sets the services broken, good" in message for message in messages)
            assert any("the service is out of service: services.broken: headers.X-A" in message for message in messages)
            assert not [line for line in gateway.lines if "traceback" in line or "Traceback" in line["message"]]
    finally:
        server.close()


def server_workers(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ready(server: Server) -> bool:
    try:
        return server.get("/health/ready").status_code == 200
    except OSError:
        return False
