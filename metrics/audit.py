"""Whoever edits services or keys, in the admin or by a command, is on record with what was there before and after; and
so is whoever does something to a running gateway by a command.
"""

from typing import Any, Final

from django.db import models
from django.db.models.signals import post_delete, post_save, pre_save

from metrics.services import record
from routing.database.actor import current_actor
from routing.models import ApiKey, Route, Service, Target
from routing.signals import operation_performed

HIDDEN: Final = "***"
NAMES: Final = {Service: "service", Target: "target", Route: "route", ApiKey: "key"}


def connect() -> None:
    for model in NAMES:
        name = f"metrics.{model.__name__}"
        pre_save.connect(_before_save, sender=model, dispatch_uid=name)
        post_save.connect(_saved, sender=model, dispatch_uid=name)
        post_delete.connect(_deleted, sender=model, dispatch_uid=name)
    operation_performed.connect(_operated, dispatch_uid="metrics.operated")


def _operated(actor: str, action: str, service: str, before: object, after: object, **_: object) -> None:
    record(actor, action, service, before=before, after=after)


def told(row: models.Model | None) -> dict[str, Any] | None:
    """What is kept of a row: all it says, but for what may be a secret."""
    match row:
        case None:
            return None
        case ApiKey():
            times = {name: getattr(row, name) for name in ("expires_at", "revoked_at")}
            said = {name: time and time.isoformat() for name, time in times.items()}
            return {"name": row.name, "prefix": row.prefix, "scopes": row.scopes, "tenant": row.tenant} | said
        case Service() | Target() | Route():
            said = row.to_document()
            if "headers" in said:
                said["headers"] = _without_secrets(said["headers"])
            return said | ({"name": row.name} if isinstance(row, Service) else {})
    raise TypeError(f"{type(row).__name__} is not recorded")


def _without_secrets(headers: Any) -> Any:
    """Values that only name a variable stay; one written out may be a password."""
    if not isinstance(headers, dict):
        return HIDDEN
    return {name: value if str(value).startswith("env:") else HIDDEN for name, value in headers.items()}


def _before_save(sender: type[models.Model], instance: models.Model, using: str, raw: bool, **_: object) -> None:
    stored = None if raw or instance.pk is None else sender._default_manager.using(using).filter(pk=instance.pk).first()
    instance._before = told(stored)  # type: ignore[attr-defined] # on its way to _saved


def _saved(instance: models.Model, created: bool, raw: bool, **_: object) -> None:
    before, after = getattr(instance, "_before", None), told(instance)
    if not raw and before != after:
        _record(instance, "created" if created else "changed", before, after)


def _deleted(instance: models.Model, **_: object) -> None:
    _record(instance, "deleted", told(instance), None)


def _record(row: models.Model, verb: str, before: Any, after: Any) -> None:
    record(current_actor().name, f"{NAMES[type(row)]}.{verb}", _service(row), before=before, after=after)


def _service(row: models.Model) -> str:
    owner = row.service if isinstance(row, Target | Route) else row
    return owner.name if isinstance(owner, Service) else ""
