"""`manage.py retention`: how long rows are kept, how many there are, and which have expired."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from gateway_project.parts.retention import tables
from metrics.retention.deletion import beyond, delete_expired


class Command(BaseCommand):
    help = (
        "Show how long the rows of each growing table are kept (RETENTION), how many there are, and how many have "
        "expired. The gateway deletes these every ten minutes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--run", action="store_true", help="delete the expired rows now, in small batches")

    def handle(self, *, run: bool, **_: Any) -> None:
        now = datetime.now(UTC)
        if run:
            deleted = delete_expired(tables(settings.CONFIG), now)
            for name, number in deleted.items():
                self.stdout.write(f"{name}: {number} deleted")
            self.stdout.write(f"{sum(deleted.values())} rows deleted")
            return
        self.stdout.write(f"{'table':<20}{'kept':<34}{'rows':>12}{'expired':>12}")
        for table in tables(settings.CONFIG):
            expired = (table.expired(now) | beyond(table)).count()
            self.stdout.write(f"{table.name:<20}{table.kept:<34}{table.rows.count():>12}{expired:>12}")
