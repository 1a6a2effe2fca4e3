"""A real Redis cluster of three servers on loopback."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from tests.ports import free_ports
from tests.redis_server import START_SECONDS, binary
from tests.redis_tls import TlsFiles

NODES: Final = 3
BUS: Final = 10_000
"""How far the port of a server's cluster bus is above its own."""
SLOTS: Final = 16_384


class RedisClusterServers:
    """One process per server, without persistence. `url` is for the gateway. With `tls`, all speak TLS alone."""

    def __init__(self, tls: TlsFiles | None = None) -> None:
        self._tls = tls
        self.directory = Path(tempfile.mkdtemp(prefix="cluster-"))
        self.ports = free_ports(NODES, distance=BUS)
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        address = f"127.0.0.1:{self.ports[0]}"
        return f"redis+cluster://{address}" if self._tls is None else f"rediss+cluster://{address}?{self._tls.query}"

    def start(self) -> None:
        """Start the cluster and wait until all nodes serve all slots."""
        for port in self.ports:
            self._launch(port)
        clients = [self.client(port) for port in self.ports]
        _wait(lambda: all(client.ping() for client in clients))
        share = SLOTS // NODES + 1
        for number, client in enumerate(clients):
            first, last = number * share, min((number + 1) * share, SLOTS) - 1
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for client, port in zip(clients[1:], self.ports[1:], strict=True):
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.ports[0])
        _wait(lambda: all(_is_complete(client) for client in clients))
        for client in clients:
            client.close()

    def client(self, port: int) -> Any:
        """A client for one node."""
        tls: dict[str, Any] = {} if self._tls is None else self._tls.arguments
        return Redis(host="127.0.0.1", port=port, socket_timeout=START_SECONDS, decode_responses=True, **tls)

    def keys(self, port: int) -> list[str]:
        with self.client(port) as client:
            return [str(key) for key in client.scan_iter("*", count=1_000)]

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _launch(self, port: int) -> None:
        directory = self.directory / str(port)
        directory.mkdir()
        words = [binary(), "--port", str(port)] if self._tls is None else self._tls.command(port)
        words += ["--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        words += ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", str(port + BUS)]
        with (directory / "log").open("ab") as log:
            self._processes.append(subprocess.Popen(words, stdout=log, stderr=log))


def _is_complete(client: Any) -> bool:
    information = str(client.execute_command("CLUSTER", "INFO"))
    return "cluster_state:ok" in information and f"cluster_known_nodes:{NODES}" in information


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if condition():
                return
        except RedisError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError("no cluster")
        time.sleep(0.02)
