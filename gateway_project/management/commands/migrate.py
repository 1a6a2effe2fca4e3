"""Django's `migrate`, by one process at a time: several replicas may run it at once."""

from typing import Any

from django.conf import settings
from django.core.management import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import connections

from gateway_project.starting.database import DatabaseUnavailable, wait_for_database
from gateway_project.version import RELEASES
from routing.database.locks import migration_lock


class Command(migrate.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--release",
            choices=tuple(RELEASES),
            help="go back to the tables of this release, before its code is started again",
        )

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        database = connections[options["database"]]
        if database.vendor == "sqlite":  # Django asks in a transaction, and takes a locked file for a lack of JSON
            database.features.supports_json_field = True
        return super().get_check_kwargs(options)

    def handle(self, *args: Any, release: str | None = None, **options: Any) -> None:
        """The plan is made under the lock, so that a replica that waited finds nothing left to do."""
        database = connections[options["database"]]
        try:
            wait_for_database(database, settings.CONFIG.server.start_timeout)
        except DatabaseUnavailable as error:
            raise CommandError(str(error)) from None
        with migration_lock(database):
            if release is None:
                super().handle(*args, **options)
                return
            for app, name in RELEASES[release].items():
                super().handle(*args, **options | {"app_label": app, "migration_name": name})
