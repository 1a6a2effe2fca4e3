"""The command line, of `manage.py` and of `intelligence-gateway`: Django's, with the gateway's own commands.

Nothing else is imported before errors and warnings are logged as LOG_FORMAT says.
"""

import os
import sys
from pathlib import Path

from gateway_project.logs import capture

BROKEN_PIPE: int = 141
"""The exit status that a shell gives for SIGPIPE."""


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
    """`main`, silent if nobody reads its output any more, or it was closed before the start."""
    capture.begin(sys.argv, os.environ)
    from routing.observability import broken_pipe  # noqa: PLC0415 - as in main

    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        broken_pipe.discard(sys.stdout)
        if sys.stderr is not None:
            broken_pipe.discard(sys.stderr)
        return BROKEN_PIPE
