"""Starts and stops the child process that runs the demonstration's backends."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from routing.demo.document import preferred_ports

ROOT: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 5.0


class DemonstrationUnavailable(Exception):
    """The demonstration's backends did not start."""


class Demonstration:
    """Five backends on the loopback interface. They end with the process that started them, however it ends."""

    def __init__(self, preferred: Mapping[str, int] | None = None) -> None:
        """`preferred` are ports by service name, by default those of the configuration file; used ones are replaced."""
        self._preferred = dict(preferred_ports() if preferred is None else preferred)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, int]:
        """The ports by service name, once all backends listen. Raises DemonstrationUnavailable."""
        command = [sys.executable, "-m", "routing.demo", "--parent", str(os.getpid())]
        command += ["--ports", json.dumps(self._preferred)]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C stops only the gateway, which needs the backends meanwhile
        )
        try:
            ports: dict[str, int] = json.loads(_first_line(self._process))
        except ValueError:
            self.stop()
            raise DemonstrationUnavailable("the demonstration's backends did not start") from None
        return ports

    def stop(self) -> None:
        """Stop the backends, if they were started."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    """The first line of output; empty if the process ends before, or after START_SECONDS."""
    if process.stdout is None:
        return b""
    with process.stdout as output:
        ready, _, _ = select.select([output], [], [], START_SECONDS)
        return output.readline() if ready else b""
