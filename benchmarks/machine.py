"""Where a benchmark ran, as far as it matters to read its figures: no names, no paths."""

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_VERSION = re.compile(r"v?(\d+(?:\.\d+)+)")


def described() -> str:
    """Date, processor, cores, kernel, Python and the gateway's server."""
    cores = len(os.sched_getaffinity(0))
    today = datetime.now(UTC).date().isoformat()
    software = (
        f"Python {_python()}, uvicorn {version('uvicorn')}, granian {version('granian')}, uvloop {version('uvloop')}"
    )
    return f"{today}, {_processor()}, {cores} cores, Linux {platform.release()}, {software}"


def _python() -> str:
    """Its version, and whose: what distributions compile with a profile is faster than what a default build makes."""
    whose = "the distribution's" if sys.base_prefix == "/usr" else "built from source"
    return f"{platform.python_version()} ({whose})"


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def version_of(program: str, flag: str) -> str:
    """The version a program tells of itself; empty when it is not installed."""
    path = shutil.which(program)
    if path is None:
        return ""
    told = subprocess.run([path, flag], capture_output=True, text=True, check=False)
    found = _VERSION.search(told.stdout + told.stderr)
    return found[1] if found else "of unknown version"


def allow_many_connections() -> None:
    """As many open files as the machine lets this process and its children have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
