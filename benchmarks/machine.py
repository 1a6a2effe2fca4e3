"""A description of the machine for the results, without host name or paths; and process limits."""

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


def describe() -> str:
    """Date, processor, cores, kernel, and the versions of Python and the ASGI servers."""
    cores = len(os.sched_getaffinity(0))
    today = datetime.now(UTC).date().isoformat()
    software = (
        f"Python {_python()}, uvicorn {version('uvicorn')}, granian {version('granian')}, uvloop {version('uvloop')}"
    )
    return f"{today}, {_processor()}, {cores} cores, Linux {platform.release()}, {software}"


def _python() -> str:
    """Version and build: distributions compile with profile-guided optimisation, which is faster."""
    build = "the distribution's" if sys.base_prefix == "/usr" else "built from source"
    return f"{platform.python_version()} ({build})"


def _processor() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def version_of(program: str, flag: str) -> str:
    """The version a program prints; empty if it is not installed."""
    path = shutil.which(program)
    if path is None:
        return ""
    done = subprocess.run([path, flag], capture_output=True, text=True, check=False)
    match = _VERSION.search(done.stdout + done.stderr)
    return match[1] if match else "of unknown version"


def raise_open_file_limit() -> None:
    """Raise the limit of open files, for this process and its children, to the hard limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
