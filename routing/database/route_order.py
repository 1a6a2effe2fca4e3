"""The order of a service's routes: the first that matches a request is used."""

from collections.abc import Collection
from typing import Final

from django.db import transaction

from routing.database.deferred import deferred_writes
from routing.database.locks import lock_configuration
from routing.models import Route, Service

_BATCH: Final = 250
"""Rows of a statement that sets positions: each has two parameters for its CASE and one for its IN."""


class NoLongerThere(LookupError):
    """A route that is to be moved, or beside which, was deleted or belongs to another service."""


def move_to(service: Service, moved: Collection[int], position: int) -> int:
    """Move routes, as a block in their present order, to `position`, from 1. Returns how many have another position.

    A position beyond the last is the last. Raises NoLongerThere.
    """
    with transaction.atomic(), deferred_writes():
        lock_configuration()
        rows = _ordered(service)
        block, rest = _split(rows, moved)
        start = min(max(position - 1, 0), len(rest))
        return _write([*rest[:start], *block, *rest[start:]], moved)


def move_beside(service: Service, moved: int, neighbour: int, *, is_before: bool) -> int:
    """Move a route directly before or after another one of its service. The same otherwise."""
    with transaction.atomic(), deferred_writes():
        lock_configuration()
        block, rest = _split(_ordered(service), [moved])
        keys = [row.pk for row in rest]
        if neighbour not in keys:
            raise NoLongerThere
        start = keys.index(neighbour) + (0 if is_before else 1)
        return _write([*rest[:start], *block, *rest[start:]], [moved])


def next_position(service: Service) -> int:
    """The position of a route that is added at the end."""
    last = Route.objects.filter(service=service).order_by("-position").values_list("position", flat=True).first()
    return 0 if last is None else last + 1


def _ordered(service: Service) -> list[Route]:
    return list(Route.objects.filter(service=service).select_related("service"))


def _split(rows: list[Route], moved: Collection[int]) -> tuple[list[Route], list[Route]]:
    block = [row for row in rows if row.pk in moved]
    if len(block) != len(set(moved)):
        raise NoLongerThere
    return block, [row for row in rows if row.pk not in moved]


def _write(rows: list[Route], moved: Collection[int]) -> int:
    """Number the rows. Those that were moved are saved, so that the change is recorded once for each."""
    changed = [(row, index) for index, row in enumerate(rows) if row.position != index]
    for row, index in changed:
        row.position = index
    Route.objects.bulk_update([row for row, _ in changed if row.pk not in moved], ["position"], batch_size=_BATCH)
    saved = [row for row, _ in changed if row.pk in moved]
    # If all that was moved keeps its number, others have changed theirs: one of them records it.
    for row in saved or [row for row, _ in changed[:1]]:
        row.save(update_fields=["position"])
    return len(changed)
