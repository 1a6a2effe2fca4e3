"""The keys and consumers that one worker has read, and what has changed of them in the database."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from django.db.models import QuerySet

from routing.authentication.key_record import KeyRecord
from routing.authentication.key_table import KeyTable
from routing.consumers.identities import IdentityTable
from routing.consumers.packed import PackedRows
from routing.consumers.table import ConsumerChanges, ConsumerData, ConsumerRecord, apply_changes
from routing.database.changes import Changed, RowKind
from routing.database.consumers import read_consumers, read_identities, read_plans, read_teams
from routing.database.key_records import active_keys, read_keys
from routing.database.pages import Selection, batches, next_page, pages
from routing.models import Consumer, ConsumerIdentity
from routing.router.live import CredentialChanges

R = TypeVar("R")
SCANNED: Final = 5_000
"""Rows of each table that are compared with the database at once."""
_Rows = Mapping[int, R | None]


class CredentialRows:
    """`keys` and `data` are read by requests, and changed by their thread alone."""

    def __init__(self) -> None:
        self.keys: Final = KeyTable()
        self._consumers: Final = PackedRows(ConsumerRecord)
        self._identities: Final = IdentityTable()
        self._shared_faults: tuple[str, ...] = ()
        self._row_faults: dict[tuple[RowKind, int], str] = {}
        self._after: dict[RowKind, int] = {}
        self._plan_names: dict[int, str] = {}
        self.data = ConsumerData({}, {}, self._consumers, self._identities)

    @property
    def key_faults(self) -> tuple[str, ...]:
        return self._faults(RowKind.KEY)

    @property
    def consumer_faults(self) -> tuple[str, ...]:
        return (*self._shared_faults, *self._faults(RowKind.CONSUMER))

    def read_all(self) -> None:
        self.read_plans_and_teams()
        for kind, query in _queries().items():
            for span in pages(query):
                self.apply(self._changes({kind: self._read(kind, span)}))

    def read_plans_and_teams(self) -> bool:
        """Whether consumers can be used with these. With a plan that has another name they cannot: they name it."""
        plans, names, plan_faults = read_plans()
        teams, team_faults = read_teams()
        renamed = [row for row, name in names.items() if self._plan_names.get(row, name) != name]
        self._shared_faults, self._plan_names = (*plan_faults, *team_faults), names
        if (plans, teams) != (self.data.plans, self.data.teams):
            self.data = ConsumerData(plans, teams, self._consumers, self._identities)
        return not renamed

    def read(self, changed: Changed) -> CredentialChanges:
        """The present state of rows that were changed. Those that are not there any more are None."""
        found: dict[RowKind, dict[int, Any]] = {}
        for kind in _queries():
            rows = found[kind] = dict.fromkeys(changed.get(kind, ()))
            for ids in batches(rows):
                rows |= self._read(kind, ids)
        return self._changes(found)

    def scan(self) -> CredentialChanges:
        """What differs from the database in the next rows of each table, starting over at the end: it finds changes
        that nobody has recorded.
        """
        found: dict[RowKind, dict[int, Any]] = {}
        for kind, query in _queries().items():
            span = next_page(query, self._after.get(kind, 0), SCANNED)
            self._after[kind] = span.last or 0
            found[kind] = dict.fromkeys(row for row in self._known(kind) if span.contains(row))
            found[kind] |= self._read(kind, span)
        return self._changes(found)

    def apply(self, changes: CredentialChanges) -> None:
        self.keys.apply(changes.keys)
        apply_changes(self.data, changes.consumers)

    def differing(self, changes: CredentialChanges) -> CredentialChanges:
        """The changes that differ from what is known."""
        return CredentialChanges(
            _differing(changes.keys, self.keys.get),
            ConsumerChanges(
                _differing(changes.consumers.consumers, self._consumers.get),
                _differing(changes.consumers.identities, self._identities.rows.get),
            ),
        )

    def _known(self, kind: RowKind) -> Iterable[int]:
        return {
            RowKind.KEY: self.keys.rows,
            RowKind.CONSUMER: self._consumers,
            RowKind.IDENTITY: self._identities.rows,
        }[kind]

    def _read(self, kind: RowKind, selection: Selection) -> Mapping[int, Any]:
        if kind is RowKind.IDENTITY:
            return read_identities(selection)
        records: Mapping[int, KeyRecord | ConsumerRecord]
        records, faults = read_keys(selection) if kind is RowKind.KEY else read_consumers(selection)
        for at in [at for at in self._row_faults if at[0] is kind and selection.contains(at[1])]:
            del self._row_faults[at]
        self._row_faults.update({(kind, row): fault for row, fault in faults.items()})
        return records

    def _changes(self, found: Mapping[RowKind, Mapping[int, Any]]) -> CredentialChanges:
        consumers = ConsumerChanges(found.get(RowKind.CONSUMER, {}), found.get(RowKind.IDENTITY, {}))
        return CredentialChanges(found.get(RowKind.KEY, {}), consumers)

    def _faults(self, kind: RowKind) -> tuple[str, ...]:
        return tuple(fault for (of, _), fault in sorted(self._row_faults.items()) if of is kind)


def merged(earlier: CredentialChanges, later: CredentialChanges) -> CredentialChanges:
    return CredentialChanges(
        {**earlier.keys, **later.keys},
        ConsumerChanges(
            {**earlier.consumers.consumers, **later.consumers.consumers},
            {**earlier.consumers.identities, **later.consumers.identities},
        ),
    )


def _queries() -> dict[RowKind, QuerySet[Any]]:
    """The queries, in the order in which their tables refer to each other."""
    return {
        RowKind.CONSUMER: Consumer.objects.all(),
        RowKind.IDENTITY: ConsumerIdentity.objects.all(),
        RowKind.KEY: active_keys(),
    }


def _differing(rows: _Rows[R], present: Callable[[int], R | None]) -> _Rows[R]:
    return {row: record for row, record in rows.items() if record != present(row)}
