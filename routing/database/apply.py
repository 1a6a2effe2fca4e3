"""Applies a configuration document to the database in one transaction, writing only what differs."""

import json
from typing import Any, Final

import msgspec
from django.db import models, transaction

from routing.configuration.decode import decode
from routing.configuration.document import canonical, plain
from routing.models import ANY_SECRET, SETTINGS, Route, Service, Target

_TARGET: Final[dict[str, Any]] = {"weight": 1, "canary": None, "enabled": True, "always_up": False}
"""A target's columns and their defaults."""


class Changes(msgspec.Struct, frozen=True):
    """The names of the services that were created, updated and deleted."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.created or self.updated or self.deleted)


def apply_document(structure: Any) -> Changes:
    """Make the database match the document. Services that it does not contain are deleted.

    `env:NAME` is stored unresolved. Raises ConfigurationError, without a change, if the document has faults.
    """
    decode(structure, ANY_SECRET)
    wanted = canonical(structure)["services"]
    with transaction.atomic():
        rows = {row.name: row for row in Service.objects.prefetch_related("targets", "routes")}
        deleted = tuple(sorted(rows.keys() - wanted.keys()))
        # Delete first: a host may move from a deleted service to another.
        for name in deleted:
            rows[name].delete()
        created = tuple(name for name in wanted if name not in rows)
        changed = {name for name, item in wanted.items() if _write_service(rows.get(name), name, item)}
        return Changes(created, tuple(sorted(changed.difference(created))), deleted)


def _write_service(row: Service | None, name: str, wanted: dict[str, Any]) -> bool:
    service = row or Service(name=name)
    targets = {} if row is None else {target.url: target for target in row.targets.all()}
    routes = [] if row is None else list(row.routes.all())
    changed = _write(service, {"hosts": wanted.get("hosts", []), "paths": wanted.get("paths"), **_settings(wanted)})
    return any(
        [
            changed,
            _write_targets(service, targets, wanted["targets"]),
            _write_routes(service, routes, wanted.get("routes", [])),
        ]
    )


def _write_targets(service: Service, rows: dict[str, Target], wanted: list[dict[str, Any]]) -> bool:
    deleted = rows.keys() - {target["url"] for target in wanted}
    for url in deleted:
        rows[url].delete()
    written = [
        _write(
            rows.get(target["url"]) or Target(service=service, url=target["url"]),
            {name: target.get(name, default) for name, default in _TARGET.items()},
        )
        for target in wanted
    ]
    return bool(deleted) or any(written)


def _write_routes(service: Service, rows: list[Route], wanted: list[dict[str, Any]]) -> bool:
    for row in rows[len(wanted) :]:
        row.delete()
    written = [
        _write(rows[index] if index < len(rows) else Route(service=service), {"position": index, **_route(route)})
        for index, route in enumerate(wanted)
    ]
    return len(rows) > len(wanted) or any(written)


def _route(route: dict[str, Any]) -> dict[str, Any]:
    lists = {"methods": route.get("methods", []), "invalidates": route.get("invalidates", [])}
    return {"path": route["path"], **lists, "idempotency": route.get("idempotency", False), **_settings(route)}


def _settings(item: dict[str, Any]) -> dict[str, Any]:
    empty = {"auth": "", "rate_limit": ""}
    return {"enabled": item.get("enabled", True)} | {name: item.get(name, empty.get(name)) for name in SETTINGS}


def _write(row: models.Model, fields: dict[str, Any]) -> bool:
    """Save the row if it is new or differs, and return whether it was saved."""
    differing = {name: value for name, value in fields.items() if _normalized(getattr(row, name)) != _normalized(value)}
    for name, value in differing.items():
        setattr(row, name, value)
    if differing or row._state.adding:
        row.save()
        return True
    return False


def _normalized(value: Any) -> str:
    """A value as canonical JSON, for comparison: in Python `1 == True`, in a configuration they differ."""
    return json.dumps(plain(value), sort_keys=True)
