"""The command line, of `manage.py` and of `intelligence-gateway`: Django's, with the gateway's own commands.

Nothing else is imported before errors and warnings are logged as LOG_FORMAT says.
"""

import errno
import os
import signal
import sys
from pathlib import Path

from gateway_project.logs import capture

BROKEN_PIPE: int = 141
"""The exit status that a shell gives for SIGPIPE."""
INTERRUPTED: int = 130
"""The exit status that a shell gives for SIGINT."""
DISK_FULL: frozenset[int] = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a file that cannot grow any more."""

TRACEBACK: str = "--traceback"
"""Django's own option of all commands."""


def main() -> int | str | None:
    """Run a command. Returns what `sys.exit` takes."""
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - an import that fails is logged
    from django.db import Error as DatabaseError  # noqa: PLC0415 - as above

    from gateway_project import garbage_collection, launch  # noqa: PLC0415 - as above
    from gateway_project.django_settings.databases import explain  # noqa: PLC0415 - as above
    from gateway_project.doctor import faults as doctor  # noqa: PLC0415 - as above
    from gateway_project.environment.variables import ConfigurationFault  # noqa: PLC0415 - as above
    from gateway_project.starting.signals import begin_start  # noqa: PLC0415 - as above

    garbage_collection.begin_loading()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    is_server = sys.argv[1:2] in [[name] for name in capture.SERVERS]
    if is_server:
        begin_start()
    try:
        with launch.embedded_valkey(sys.argv, os.environ):
            execute_from_command_line(sys.argv)
    except ConfigurationFault as faults:
        if sys.argv[1:2] == [doctor.NAME]:
            sys.stdout.write(f"{doctor.describe(faults.faults, sys.argv)}\n")
            return doctor.FAILED
        message = "\n".join(["Invalid environment:", *(f"  {fault}" for fault in faults.faults)])
        capture.write_error(message, os.environ, is_json=is_server)
        return 1
    except DatabaseError as error:
        explained = explain(error)
        if explained is None or TRACEBACK in sys.argv:
            raise
        capture.write_error(explained, os.environ, is_json=is_server)
        return 1
    return None


def run() -> int | str | None:
    """`main`, without a traceback for what is no fault of the gateway: Ctrl-C, an output that nobody reads any more or
    that was closed before the start, and a full disk.
    """
    try:
        return _run()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)  # a shell ends the loop or script around a command that dies of it
        return INTERRUPTED


def _run() -> int | str | None:
    capture.begin(sys.argv, os.environ)
    from routing.observability import text_output  # noqa: PLC0415 - as in main

    _replace_closed_streams()
    text_output.accept_every_character(sys.stdout)
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        text_output.discard(sys.stdout)
        if sys.stderr is not None:
            text_output.discard(sys.stderr)
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in DISK_FULL or TRACEBACK in sys.argv:
            raise
        text_output.discard(sys.stdout)
        return f"{error.filename or 'the output'}: {error.strerror}"
    except UnicodeEncodeError:
        if TRACEBACK in sys.argv or all(map(_is_utf_8, sys.argv)):
            raise
        return "an argument is not UTF-8"


def _replace_closed_streams() -> None:
    """By empty ones, until the process ends."""
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - as the docstring says
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as the docstring says


def _is_utf_8(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
