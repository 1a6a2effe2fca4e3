"""systemd accepts the unit, and the server runs as it says."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from gateway_project.config import read as read_environment
from tests.deploy.dockerfile import PYTHON
from tests.needs import skip_or_fail
from tests.ports import free_port
from tests.processes import eventually
from tests.system.server import ROOT

pytestmark = pytest.mark.slow

UNIT = ROOT / "deploy" / "systemd" / "intelligence-gateway.service"
EXAMPLE = ROOT / "deploy" / "systemd" / "environment.example"
EXPOSURE = 20
"""Tenths of systemd's points from 0 to 10 that the unit may have at most."""
CONFINED = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.prctl(65, 1, 0, 0, 0)  # PR_SET_MDWE; kernels before 6.3 have none
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
os.umask(0o077)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a program as MemoryDenyWriteExecute, NoNewPrivileges and UMask do."""


@pytest.fixture(scope="module")
def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unit with programs and a user that this machine has, as systemd-analyze looks for them."""
    if shutil.which("systemd-analyze") is None:
        skip_or_fail("systemd-analyze is not installed (Debian package systemd)")
    text = UNIT.read_text().replace("/opt/intelligence-gateway/.venv/bin/python", PYTHON)
    path = tmp_path_factory.mktemp("units") / UNIT.name
    path.write_text(re.sub(r"^(User|Group)=.*", r"\1=daemon", text, flags=re.MULTILINE))
    return path


def test_systemd_accepts_the_unit(installed: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", installed],
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_hardened(installed: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", installed],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_unit_waits_as_long_as_the_gateway_takes_to_stop(settings: dict[str, list[str]]) -> None:
    server = read_environment({"SECRET_KEY": 40 * "x"}).server
    assert settings["TimeoutStopSec"] == [str(server.drain + server.grace + 5)]
    assert settings["KillMode"] == ["mixed"]


def test_a_worker_that_is_killed_for_want_of_memory_does_not_end_the_others(settings: dict[str, list[str]]) -> None:
    assert settings["OOMPolicy"] == ["continue"]


def test_the_example_environment_is_a_valid_one() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    given = dict(line.split("=", 1) for line in lines)
    assert given["SECRET_KEY"] == ""
    config = read_environment({**given, "SECRET_KEY": 40 * "x"})
    assert (config.server.workers, config.staff.host) == (2, "staff.example.com")


@pytest.fixture
def directory() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="unit-"))
    found.chmod(0o777)
    yield found
    shutil.rmtree(found, ignore_errors=True)


def test_the_commands_of_the_unit_run_in_order(settings: dict[str, list[str]], directory: Path) -> None:
    """ExecStartPre, ExecStart and ExecReload, with an empty HOME and the workers' memory restricted."""
    port = free_port()
    environment = {
        "SECRET_KEY": 40 * "x",
        "DATABASE_URL": f"sqlite:///{directory}/gateway.sqlite3",
        "PORT": str(port),
        "DRAIN_SECONDS": "0",
        "HOME": str(directory / "nowhere"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def run(line: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable if part.endswith("/python") else part for part in line.split()]
        confined = [sys.executable, "-c", CONFINED, *command]
        return subprocess.Popen(confined, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    with run(settings["ExecStartPre"][0]) as migrations:
        output, errors = migrations.communicate()
        assert (migrations.returncode, output, errors) == (0, b"", b"")
    with run(settings["ExecStart"][0]) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == b"ready\n"
            workers = children(server.pid)
            subprocess.run(settings["ExecReload"][0].replace("$MAINPID", str(server.pid)).split(), check=True)
            assert eventually(lambda: bool(children(server.pid) - workers) and not workers & children(server.pid), 30)
            assert requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=30).status_code == 200
            server.terminate()
            assert server.wait(30) == 0
        finally:
            server.kill()


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
