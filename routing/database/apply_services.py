"""Applies the services of a configuration document to the database, with their targets and routes."""

from collections.abc import Mapping
from typing import Any, Final

from routing.database.rows import assign, create, write
from routing.models import SETTINGS, Route, Service, Target

_TARGET: Final[dict[str, Any]] = {"weight": 1, "canary": None, "enabled": True, "always_up": False, "tls": None}
"""A target's columns and their defaults."""


def write_services(rows: Mapping[str, Service], wanted: Mapping[str, Any], origin: str) -> set[str]:
    """Make the rows match `wanted`, which is in canonical form. Returns the names of the services that have changed.

    `rows` are those of the database by name, with targets and routes. New targets and routes are inserted together.
    """
    targets: list[Target] = []
    routes: list[Route] = []
    changed = set()
    for name, item in wanted.items():
        row = rows.get(name)
        service = row or Service(name=name, origin=origin)
        is_written = write(service, {**_own_settings(item), **_settings(item)})
        old_targets = {} if row is None else {target.url: target for target in row.targets.all()}
        old_routes = [] if row is None else list(row.routes.all())
        written = [
            is_written,
            _write_targets(service, old_targets, item.get("targets", []), targets),
            _write_routes(service, old_routes, item.get("routes", []), routes),
        ]
        if any(written):
            changed.add(name)
    create(Target, targets)
    create(Route, routes)
    return changed


def _write_targets(service: Service, rows: dict[str, Target], wanted: list[dict[str, Any]], new: list[Target]) -> bool:
    """Whether anything differs. Targets to be inserted are added to `new`."""
    deleted = rows.keys() - {target["url"] for target in wanted}
    for url in deleted:
        rows[url].delete()
    is_changed = bool(deleted)
    for target in wanted:
        columns = {name: target.get(name, default) for name, default in _TARGET.items()}
        row = rows.get(target["url"])
        if row is None:
            row = Target(service=service, url=target["url"])
            assign(row, columns)
            new.append(row)
            is_changed = True
        else:
            is_changed = write(row, columns) or is_changed
    return is_changed


def _write_routes(service: Service, rows: list[Route], wanted: list[dict[str, Any]], new: list[Route]) -> bool:
    """The same for routes, which are compared by their position."""
    for row in rows[len(wanted) :]:
        row.delete()
    is_changed = len(rows) != len(wanted)
    for index, route in enumerate(wanted):
        columns = {"position": index, **_route(route)}
        if index < len(rows):
            is_changed = write(rows[index], columns) or is_changed
        else:
            row = Route(service=service)
            assign(row, columns)
            new.append(row)
    return is_changed


def _route(route: dict[str, Any]) -> dict[str, Any]:
    lists = {"methods": route.get("methods", []), "invalidates": route.get("invalidates", [])}
    return {"path": route["path"], **lists, "idempotency": route.get("idempotency", False), **_settings(route)}


def _own_settings(item: dict[str, Any]) -> dict[str, Any]:
    """The settings that only services have."""
    sections = {name: item.get(name) for name in ("paths", "thresholds", "slo", "status_page", "labels", "tls")}
    return {"preset": item.get("preset") or "", "hosts": item.get("hosts", []), **sections}


def _settings(item: dict[str, Any]) -> dict[str, Any]:
    empty = {"auth": "", "rate_limit": ""}
    return {"enabled": item.get("enabled", True)} | {name: item.get(name, empty.get(name)) for name in SETTINGS}
