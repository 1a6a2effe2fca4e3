"""`manage.py serve my.yaml`: from a checkout to one's own services in one command."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command

from gateway_project.config import Config
from gateway_project.management.commands import rungateway
from gateway_project.starting.greeting import greeting


class Command(rungateway.Command):
    help = (
        "Serve your own services: makes a secret key in DATA_DIR, migrates the database, applies the configuration "
        "file as GATEWAY_CONFIG does, creates a first API key, and starts the gateway."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("config", nargs="?", help="a configuration file (default: GATEWAY_CONFIG, or none)")
        super().add_arguments(parser)

    def overrides(self, options: dict[str, Any]) -> dict[str, str]:
        file = options["config"]
        if file is not None and not Path(file).is_file():
            raise CommandError(f"{file}: there is no such file; docs/gateway.example.yaml shows what one contains")
        return super().overrides(options) | ({} if file is None else {"GATEWAY_CONFIG": file})

    def migrate(self, timeout: float) -> None:
        """Migrate a database server too: this command is the only step of such a start."""
        call_command("migrate", verbosity=0)
        super().migrate(timeout)

    def greeting(self, config: Config) -> str:
        return super().greeting(config) or greeting(config)
