"""Loads the configuration for one worker: all of it once, and then what has changed."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from routing.database.changes import Changed, RowKind, changed_since, current_version
from routing.database.credential_rows import CredentialRows, merged
from routing.router.live import NO_CHANGES, CredentialChanges, LoadedConfiguration
from routing.router.table import RouteTable

ATTEMPTS: Final = 5
SCAN_SECONDS: Final = 10.0
"""How often keys and consumers are compared with a part of the database."""
SCAN_SHARE: Final = 0.05
"""The share of the time that this may take."""


class LoadedServices(NamedTuple):
    """What is always read as a whole: services with all that routes need. `invalid` is as in LoadedConfiguration."""

    table: RouteTable
    invalid: frozenset[str] = frozenset()
    unnamed_faults: tuple[str, ...] = ()
    other_faults: tuple[str, ...] = ()


class ConfigurationSource:
    """Services are read as a whole when anything of them has changed; keys and consumers by row.

    What no change was recorded for, such as a bulk update, is found by reading services every few seconds, and keys and
    consumers a few thousand rows at a time. All methods block and are called by one thread, but `applied`.

    `load_services` takes the version. `on_services` is called with their table when they have been read.
    """

    def __init__(
        self,
        load_services: Callable[[int], LoadedServices],
        *,
        on_services: Callable[[RouteTable], None] = lambda _table: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load_services = load_services
        self._on_services = on_services
        self._clock = clock
        self._seen: int | None = None
        self._rows = CredentialRows()
        self._services = LoadedServices(RouteTable())
        self._services_outdated = True
        self._are_applied = True
        self._scanned_at = self._scan_seconds = 0.0

    def outdate_services(self) -> None:
        """Read services at the next load: a secret has changed."""
        self._services_outdated = True

    def applied(self) -> None:
        """The changes of the last load have been made. Without this call, the next one reads everything again."""
        self._are_applied = True

    def load(self) -> LoadedConfiguration:
        """The configuration at one version, with the changes that are to be made. Raises Django's DatabaseError."""
        rows, seen, changes = self._rows, self._seen, NO_CHANGES
        version = current_version()
        is_scan = version == seen or self._is_scan_due()
        if seen is None or not self._are_applied or (is_scan and not rows.read_plans_and_teams()):
            seen, rows = version, self._read_all()
        elif is_scan:
            changes = self._scan()
        seen, rows, changes = self._catch_up(seen, rows, changes)
        if rows is self._rows:
            changes = rows.differing(changes)
        else:
            rows.apply(changes)  # nobody else has these yet
            changes = NO_CHANGES
        self._seen, self._rows, self._services_outdated, self._are_applied = seen, rows, False, not changes
        services = self._services
        faults = (*services.unnamed_faults, *rows.key_faults, *services.other_faults, *rows.consumer_faults)
        return LoadedConfiguration(services.table, rows.keys, services.invalid, faults, rows.data, changes, seen)

    def _catch_up(
        self, seen: int, rows: CredentialRows, changes: CredentialChanges
    ) -> tuple[int, CredentialRows, CredentialChanges]:
        """Read what was changed after version `seen`, until nothing was meanwhile.

        Not in one transaction, which would lock out writers on SQLite.
        """
        for _ in range(ATTEMPTS):
            version = current_version()
            changed = changed_since(seen, version)
            if changed is None or not self._read_shared(rows, changed):
                rows, changes = self._read_all(), NO_CHANGES
            else:
                changes = merged(changes, rows.read(changed))
                self._services_outdated = self._services_outdated or RowKind.CONFIGURATION in changed
            if self._services_outdated:
                self._read_services(version)
            seen = version
            if current_version() == version:
                break
        return seen, rows, changes

    def _read_shared(self, rows: CredentialRows, changed: Changed) -> bool:
        """Whether the consumers that have been read can be used with the present plans and teams."""
        return changed.keys().isdisjoint((RowKind.PLAN, RowKind.TEAM)) or rows.read_plans_and_teams()

    def _read_services(self, version: int) -> None:
        services = self._load_services(version)
        self._on_services(services.table)
        if services == self._services and self._seen is not None:
            services = self._services  # what was derived from this table need not be made again
        self._services = services

    def _read_all(self) -> CredentialRows:
        self._services_outdated, self._scanned_at, self._scan_seconds = True, self._clock(), 0.0
        rows = CredentialRows()
        rows.read_all()
        return rows

    def _is_scan_due(self) -> bool:
        return self._clock() - self._scanned_at >= max(SCAN_SECONDS, self._scan_seconds / SCAN_SHARE)

    def _scan(self) -> CredentialChanges:
        began = self._clock()
        changes = self._rows.scan()
        self._services_outdated, self._scanned_at, self._scan_seconds = True, began, self._clock() - began
        return changes
