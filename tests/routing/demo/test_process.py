import os
import signal
import socket
import subprocess
import sys

import pytest
import requests

from routing.demo.process import Demonstration, DemonstrationUnavailable
from routing.demo.servers import BACKENDS
from tests.processes import children, eventually, has_exited, session

pytestmark = pytest.mark.slow

GATEWAY = """
import signal
from routing.demo.process import Demonstration
signal.signal(signal.SIGINT, signal.default_int_handler)
demonstration = Demonstration({})
print(demonstration.start(), flush=True)
signal.pause()
"""
"""A gateway that only starts a demonstration. A shell starts processes in the background with SIGINT ignored."""


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def started() -> tuple[Demonstration, dict[str, int], int]:
    """A demonstration, its ports and its process."""
    before = children(os.getpid())
    demonstration = Demonstration({})
    ports = demonstration.start()
    (pid,) = set(children(os.getpid())) - set(before)
    return demonstration, ports, pid


def test_backends_listen_once_started_and_not_once_stopped() -> None:
    demonstration, ports, pid = started()
    assert set(ports) == set(BACKENDS)
    assert all(listens(port) for port in ports.values())
    demonstration.stop()
    assert has_exited(pid)
    assert not any(listens(port) for port in ports.values())


def test_stopping_twice_or_before_a_start_is_harmless() -> None:
    demonstration = Demonstration({})
    demonstration.stop()
    demonstration.start()
    demonstration.stop()
    demonstration.stop()


def test_a_free_preferred_port_is_used_and_a_used_one_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as used, socket.create_server(("127.0.0.1", 0)) as freed:
        preferred = {"crm": used.getsockname()[1], "aiRouting": freed.getsockname()[1]}
        freed.close()
        demonstration = Demonstration(preferred)
        ports = demonstration.start()
        try:
            assert ports["aiRouting"] == preferred["aiRouting"]
            assert ports["crm"] != preferred["crm"]
            assert requests.get(f"http://127.0.0.1:{ports['crm']}/contacts", timeout=30).ok
        finally:
            demonstration.stop()


def test_ctrl_c_in_the_terminal_does_not_reach_the_backends() -> None:
    demonstration, _, pid = started()
    assert session(pid) != session(os.getpid())
    demonstration.stop()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_backends_end_with_the_gateway_however_it_ends(ending: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", GATEWAY], stdout=subprocess.PIPE) as gateway:
        assert gateway.stdout
        gateway.stdout.readline()
        (pid,) = children(gateway.pid)
        gateway.send_signal(ending)
        gateway.wait()
        assert eventually(lambda: has_exited(pid))


def test_backends_that_do_not_start_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DemonstrationUnavailable):
        Demonstration({}).start()
