"""`manage.py rungateway`: runs the server, with --demo also a demonstration."""

import contextlib
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import CommandError
from django.core.management.base import BaseCommand, OutputWrapper
from django.db import DatabaseError, connection

from gateway_project import config as environment
from gateway_project import garbage_collection
from gateway_project.config import Config
from gateway_project.demo import quickstart
from gateway_project.django_settings.databases import close_connections
from gateway_project.environment.variables import ConfigurationFault
from gateway_project.logs.capture import log_uncaught_errors
from gateway_project.server import serving
from gateway_project.starting.child_process import run_in_child
from gateway_project.starting.database import DatabaseUnavailable, prepare_database
from routing.configuration.faults import ConfigurationError
from routing.configuration.literals import literal_secrets
from routing.database.loader import readable_document
from routing.database.startup_file import apply_environment_issuers, apply_startup_file

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Serve the gateway: the services, the health endpoints, the dashboard and the admin."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", help="the address to listen on (default: HOST, or 127.0.0.1)")
        parser.add_argument("--port", type=int, help="the port to listen on (default: PORT, or 8000)")
        parser.add_argument("--workers", type=int, help="the number of worker processes (default: WORKERS, or 1)")
        parser.add_argument(
            "--demo", action="store_true", help="add demonstration services, a staff user and an API key"
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """Write errors and warnings, of this process and of the workers, as LOG_FORMAT says."""
        log_uncaught_errors()
        if settings.CONFIG.log_format == "json":
            self.stderr = _LoggedErrors(sys.stderr)
        super().run_from_argv(argv)

    def handle(self, **options: Any) -> None:
        config = settings.CONFIG = _with_options(settings.CONFIG, self.overrides(options))
        if (reason := serving.refused_address(config)) is not None:
            raise CommandError(reason)
        self.prepare_database(config.server.start_timeout)
        with self.demonstration(config, options):
            if config.gateway_config:
                _apply_file(config.gateway_config)
            apply_environment_issuers(list(config.issuers))
            _warn_of_literal_secrets()
            greeting = self.greeting(config)
            serving.load()
            close_connections()
            garbage_collection.before_fork()
            status = serving.serve(config, greeting)
        if status:
            raise SystemExit(status)

    def overrides(self, options: dict[str, Any]) -> dict[str, str]:
        """The variables that the options replace."""
        return {name.upper(): str(options[name]) for name in ("host", "port", "workers") if options[name] is not None}

    def prepare_database(self, timeout: float) -> None:
        """`timeout` is in seconds. Raises CommandError.

        Migrations need 30 MB, which the main process and its workers would keep.
        """
        if ":memory:" in str(connection.settings_dict["NAME"]):
            raise CommandError(
                "DATABASE_URL: workers do not share a database in memory; name a file, or a PostgreSQL server"
            )
        try:
            run_in_child(partial(self.migrate, timeout))
        except DatabaseUnavailable as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"cannot read the database: {error}") from None

    def migrate(self, timeout: float) -> None:
        """Wait for the database, and migrate it or check that it has been migrated, in a process of its own."""
        prepare_database(connection, timeout)

    @contextlib.contextmanager
    def demonstration(self, config: Config, options: dict[str, Any]) -> Iterator[None]:
        """What runs beside the gateway."""
        with quickstart.demonstration(config) if options["demo"] else contextlib.nullcontext("") as greeting:
            self._greeting = greeting
            yield

    def greeting(self, config: Config) -> str:  # noqa: ARG002 - a subclass's needs it
        """What is printed before `ready`, once the configuration has been applied."""
        return self._greeting


class _LoggedErrors(OutputWrapper):
    """Where Django writes a CommandError."""

    def write(self, msg: str = "", *_: Any, **__: Any) -> None:  # type: ignore[override] # as OutputWrapper itself
        log.error("%s", msg.rstrip("\n"))


def _with_options(config: Config, overrides: dict[str, str]) -> Config:
    """The options override the environment, and are validated in the same way."""
    try:
        return environment.read({**config.environment, **overrides})
    except ConfigurationFault as faults:
        raise CommandError("\n".join(faults.faults)) from None


def _apply_file(path: Path) -> None:
    try:
        apply_startup_file(path)
    except ConfigurationError as error:
        raise CommandError(f"GATEWAY_CONFIG: {path} is invalid\n{error}") from None
    except OSError as error:
        raise CommandError(f"GATEWAY_CONFIG: {path}: {error.strerror}") from None


def _warn_of_literal_secrets() -> None:
    """They are refused when a configuration is applied, but those that are stored already go on working."""
    for fault in literal_secrets(readable_document()):
        log.warning("%s", fault)
