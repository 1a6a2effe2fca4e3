"""Writes a document to the rows: all of it or nothing, and only what differs."""

import json
from typing import Any, Final

import msgspec
from django.db import models, transaction

from routing.configuration.decode import decode
from routing.configuration.document import canonical, plain
from routing.models import ANY_SECRET, SETTINGS, Route, Service, Target

_TARGET: Final[dict[str, Any]] = {"weight": 1, "canary": None, "enabled": True, "always_up": False}
"""A target's columns, and what they are when the document says nothing."""


class Changes(msgspec.Struct, frozen=True):
    """The names of the services that came, changed and went."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.created or self.updated or self.deleted)


def apply_document(structure: Any) -> Changes:
    """Makes the database say what the document says; services it does not name go.

    Raises ConfigurationError, having changed nothing, when it has faults. `env:NAME`s are kept as they are.
    """
    decode(structure, ANY_SECRET)
    wanted = canonical(structure)["services"]
    with transaction.atomic():
        rows = {row.name: row for row in Service.objects.prefetch_related("targets", "routes")}
        deleted = tuple(sorted(rows.keys() - wanted.keys()))
        # Before anything is written: a host may move from a service that goes to one that stays.
        for name in deleted:
            rows[name].delete()
        created = tuple(name for name in wanted if name not in rows)
        touched = {name for name, said in wanted.items() if _write_service(rows.get(name), name, said)}
        return Changes(created, tuple(sorted(touched.difference(created))), deleted)


def _write_service(row: Service | None, name: str, said: dict[str, Any]) -> bool:
    service = row or Service(name=name)
    targets = {} if row is None else {target.url: target for target in row.targets.all()}
    routes = [] if row is None else list(row.routes.all())
    changed = _write(service, {"hosts": said.get("hosts", []), **_settings(said)})
    return any([changed, _write_targets(service, targets, said["targets"]), _write_routes(service, routes, said)])


def _write_targets(service: Service, rows: dict[str, Target], wanted: list[dict[str, Any]]) -> bool:
    gone = rows.keys() - {said["url"] for said in wanted}
    for url in gone:
        rows[url].delete()
    written = [
        _write(
            rows.get(said["url"]) or Target(service=service, url=said["url"]),
            {name: said.get(name, unsaid) for name, unsaid in _TARGET.items()},
        )
        for said in wanted
    ]
    return bool(gone) or any(written)


def _write_routes(service: Service, rows: list[Route], said: dict[str, Any]) -> bool:
    wanted = said.get("routes", [])
    for row in rows[len(wanted) :]:
        row.delete()
    written = [
        _write(rows[index] if index < len(rows) else Route(service=service), {"position": index, **_route(route)})
        for index, route in enumerate(wanted)
    ]
    return len(rows) > len(wanted) or any(written)


def _route(said: dict[str, Any]) -> dict[str, Any]:
    lists = {"methods": said.get("methods", []), "invalidates": said.get("invalidates", [])}
    return {"path": said["path"], **lists, "idempotency": said.get("idempotency", False), **_settings(said)}


def _settings(said: dict[str, Any]) -> dict[str, Any]:
    unsaid = {"auth": "", "rate_limit": ""}
    return {"enabled": said.get("enabled", True)} | {name: said.get(name, unsaid.get(name)) for name in SETTINGS}


def _write(row: models.Model, fields: dict[str, Any]) -> bool:
    """Saves the row when it is new or says something else, and whether it did."""
    differing = {name: value for name, value in fields.items() if _form(getattr(row, name)) != _form(value)}
    for name, value in differing.items():
        setattr(row, name, value)
    if differing or row._state.adding:
        row.save()
        return True
    return False


def _form(value: Any) -> str:
    """A value as JSON in one form: in Python `1 == True`, in a configuration it is not."""
    return json.dumps(plain(value), sort_keys=True)
