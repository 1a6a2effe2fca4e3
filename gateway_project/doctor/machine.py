"""This machine: open files, and directories that are written."""

import errno
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway_project.config import Config
from gateway_project.django_settings.databases import NO_SPACE
from gateway_project.doctor.finding import Finding, error, ok, warning
from gateway_project.starting import open_files

FEW_FILES: Final = 4_096
"""A lower limit of open files is reported. A request takes two: the client's connection, and one to the backend."""
TOO_FEW_FILES: Final = 256
LITTLE_SPACE: Final = 200 * 1024 * 1024
"""Bytes below which free space is reported."""


def check_machine(config: Config) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield check_open_files(soft, hard)
    for port in filter(None, (config.server.port, config.staff.port)):
        yield check_listener(config.server.host, port)
    yield check_directory("data directory", config.var, "set DATA_DIR to a directory that this user can write")
    temporary = Path(config.environment.get("TMPDIR") or "/tmp")  # noqa: S108 - only tried; tempfile would fall back silently
    if temporary.is_dir():
        yield check_directory("temporary files", temporary, "set TMPDIR, or mount a tmpfs there")
    else:
        yield warning(
            "temporary files", f"there is no {temporary}: other directories are tried", "make it, or set TMPDIR"
        )


def check_open_files(soft: int, hard: int) -> Finding:
    files = open_files.reachable(soft, hard)
    if files == resource.RLIM_INFINITY or files >= FEW_FILES:
        return ok("open files", f"{'no limit' if files == resource.RLIM_INFINITY else files} for each process")
    advice = "raise the hard limit: LimitNOFILE=65536 in systemd, --ulimit nofile=65536 in Docker, or limits.conf"
    message = f"{files} for each process: a worker has at most {files // 2} requests at a time"
    return (error if files < TOO_FEW_FILES else warning)("open files", message, advice)


def check_listener(host: str, port: int) -> Finding:
    """Whether the gateway could accept connections there, by listening for a moment."""
    place = f"{host or '*'}:{port}"
    try:
        family, *_, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        with socket.socket(family) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            return ok("listening", f"{place} is in use, by this gateway if it runs")
        advice = "set HOST to an address of this machine, or to 0.0.0.0 for all; ports below 1024 may need a right"
        return error("listening", f"{place}: {fault.strerror or fault}", advice)
    return ok("listening", place)


def check_directory(check: str, directory: Path, advice: str) -> Finding:
    """Whether files can be created there, by creating one: permissions do not reveal a read-only file system."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as fault:
        return error(check, f"{directory}: {fault.strerror}", advice)
    if free < NO_SPACE:
        return error(check, f"{directory} has no space left", "free some space: nothing can be written")
    if free < LITTLE_SPACE:
        return warning(check, f"{directory} has {free // 1024**2} MB left", "free some space")
    return ok(check, str(directory))
