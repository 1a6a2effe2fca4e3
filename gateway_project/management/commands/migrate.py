"""Django's `migrate`, by one process at a time: several replicas may run it at once."""

from typing import Any

from django.core.management.commands import migrate
from django.db import connections

from routing.database.locks import migration_lock


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        """The plan is made under the lock, so that a replica that waited finds nothing left to do."""
        with migration_lock(connections[options["database"]]):
            super().handle(*args, **options)
