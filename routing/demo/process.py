"""The demonstration's one child process, from the side of the command that starts it."""

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
    """Five backends on loopback. They end with the process that started them, however it ends."""

    def __init__(self, preferred: Mapping[str, int] | None = None) -> None:
        """`preferred` is service name to port; those of the configuration file by default. A taken one is replaced."""
        self._preferred = dict(preferred_ports() if preferred is None else preferred)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, int]:
        """Service name to port, once all listen. Raises DemonstrationUnavailable."""
        command = [sys.executable, "-m", "routing.demo", "--parent", str(os.getpid())]
        command += ["--ports", json.dumps(self._preferred)]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the gateway's, which still answers with the backends' help
        )
        try:
            ports: dict[str, int] = json.loads(_first_line(self._process))
        except ValueError:
            self.stop()
            raise DemonstrationUnavailable("the demonstration's backends did not start") from None
        return ports

    def stop(self) -> None:
        """End the backends. Harmless when they were not started."""
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
    """What the process says first; nothing when it ends before, or takes longer than START_SECONDS."""
    if process.stdout is None:
        return b""
    with process.stdout as output:
        ready, _, _ = select.select([output], [], [], START_SECONDS)
        return output.readline() if ready else b""
