"""Applies a configuration document to the database in one transaction, writing only what differs."""

import json
from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec
from django.db import models, transaction

from routing.configuration import fallbacks
from routing.configuration.decode import decode
from routing.configuration.document import canonical, plain
from routing.configuration.faults import ConfigurationError, Fault
from routing.database.locks import lock_configuration
from routing.database.masking import unmask
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


def apply_document(structure: Any, *, delete: Collection[str] | None = None, origin: str = "") -> Changes:
    """Make the database match the document. Services that it does not contain are deleted: all, or those in `delete`.

    References such as `env:NAME` are stored as they are. A mask stands for the secret that is stored now. `origin` is
    recorded with the services that are created. Raises ConfigurationError, without a change, if the document has
    faults or uses a host of a service that is kept, or if a service that is kept has one that is deleted as its
    fallback.
    """
    with transaction.atomic():
        lock_configuration()
        structure = unmask(structure)
        decode(structure, ANY_SECRET, is_part=True)
        wanted = canonical(structure)["services"]
        rows = {row.name: row for row in Service.objects.prefetch_related("targets", "routes")}
        absent = rows.keys() - wanted.keys()
        deleted = tuple(sorted(absent if delete is None else absent.intersection(delete)))
        kept = [rows[name] for name in sorted(absent.difference(deleted))]
        _check_hosts(wanted, kept)
        _check_fallbacks(wanted, kept, deleted)
        # Delete first: a host may move from a deleted service to another.
        for name in deleted:
            rows[name].delete()
        created = tuple(name for name in wanted if name not in rows)
        changed = {name for name, item in wanted.items() if _write_service(rows.get(name), name, item, origin)}
        return Changes(created, tuple(sorted(changed.difference(created))), deleted)


def absent_services(structure: Any) -> tuple[str, ...]:
    """The names of the services in the database that the document does not contain."""
    names = structure.get("services") or {}
    return tuple(Service.objects.exclude(name__in=list(names)).order_by("name").values_list("name", flat=True))


def _check_hosts(wanted: dict[str, Any], kept: Iterable[Service]) -> None:
    owners = {str(host).lower(): row.name for row in kept for host in row.hosts or ()}
    faults = [
        Fault(("services", name, "hosts"), f"{host!r} is already a host of {owners[host.lower()]}")
        for name, item in wanted.items()
        for host in item.get("hosts", ())
        if host.lower() in owners
    ]
    if faults:
        raise ConfigurationError(faults)


def _check_fallbacks(wanted: dict[str, Any], kept: Iterable[Service], deleted: Collection[str]) -> None:
    """A fallback that was wrong before, of a service that is kept, stays as it is."""
    before = {row.name: row.with_routes() for row in kept}
    earlier = set(fallbacks.check({**before, **dict.fromkeys([*wanted, *deleted])}))
    faults = [fault for fault in fallbacks.check({**before, **wanted}) if fault not in earlier]
    if faults:
        raise ConfigurationError(faults)


def _write_service(row: Service | None, name: str, wanted: dict[str, Any], origin: str) -> bool:
    service = row or Service(name=name, origin=origin)
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
