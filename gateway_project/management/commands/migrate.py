"""Django's `migrate`, by one process at a time: several replicas may run it at once."""

from typing import Any

from django.conf import settings
from django.core.management import CommandError
from django.core.management.commands import migrate
from django.db import connections

from gateway_project.starting.database import DatabaseUnavailable, wait_for_database
from routing.database.locks import migration_lock


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        """The plan is made under the lock, so that a replica that waited finds nothing left to do."""
        database = connections[options["database"]]
        try:
            wait_for_database(database, settings.CONFIG.server.start_timeout)
        except DatabaseUnavailable as error:
            raise CommandError(str(error)) from None
        with migration_lock(database):
            super().handle(*args, **options)
