"""What consumers with keys cost a worker: the time of its first load, its memory, a lookup, and the load of one change.

    python -m benchmarks.consumers [NUMBER]

Runs on a database of its own in a temporary directory, in this process, without the network.
"""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

import django
from django.core.management import call_command
from django.db import connections

NUMBER: Final = 100_000


def main(number: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
            "DEBUG": "on",
            "DATABASE_URL": f"sqlite:///{Path(directory) / 'gateway.sqlite3'}",
        }
        django.setup()
        from benchmarks import consumer_load  # noqa: PLC0415 - it imports models, which need Django set up

        call_command("migrate", verbosity=0)
        connections.close_all()
        # In a process of its own, whose memory the load does not find free.
        with multiprocessing.get_context("fork").Pool(1) as pool:
            secrets = pool.apply(consumer_load.populate, (number,))
        consumer_load.measure(number, secrets)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else NUMBER)
