"""The audit log: who did what to the gateway, with the state before and after.

Records every change of a service, target, route or API key, whether made in the admin or by a command, and the
operations of management commands. Metrics services record their own operations with `record_operation`.
"""

from typing import Any, Final

from django.db import models
from django.db.models.signals import post_delete, post_save, pre_save

from metrics.middleware import current_request_id
from metrics.models import Operation
from routing.configuration.headers import reference
from routing.database.actor import current_actor
from routing.models import ApiKey, Route, Service, Target
from routing.signals import operation_performed

REDACTED: Final = "***"
AUDITED_MODELS: Final = {Service: "service", Target: "target", Route: "route", ApiKey: "key"}
"""The audited models, by the first word of their actions."""


def record_operation(
    actor: str, action: str, service: str = "", *, before: object = None, after: object = None
) -> Operation:
    """Add an entry to the audit log. `before` and `after` are JSON-serializable and hold no secrets."""
    return Operation.objects.create(
        actor=actor[:200],
        action=action,
        service=service,
        before=before,
        after=after,
        request_id=current_request_id(),
    )


def staff_actor(user: Any) -> str:
    return f"staff:{user.get_username()}"


def connect_signals() -> None:
    for model in AUDITED_MODELS:
        name = f"metrics.{model.__name__}"
        pre_save.connect(_before_save, sender=model, dispatch_uid=name)
        post_save.connect(_after_save, sender=model, dispatch_uid=name)
        post_delete.connect(_after_delete, sender=model, dispatch_uid=name)
    operation_performed.connect(_after_command, dispatch_uid="metrics.operated")


def serialize(row: models.Model | None) -> dict[str, Any] | None:
    """A row's fields as the audit log keeps them. Values that may be secrets are redacted."""
    match row:
        case None:
            return None
        case ApiKey():
            times = {name: getattr(row, name) for name in ("expires_at", "revoked_at")}
            document = {name: time and time.isoformat() for name, time in times.items()}
            return {"name": row.name, "prefix": row.prefix, "scopes": row.scopes, "tenant": row.tenant} | document
        case Service() | Target() | Route():
            document = row.to_document()
            if "headers" in document:
                document["headers"] = _redact(document["headers"])
            return document | ({"name": row.name} if isinstance(row, Service) else {})
    raise TypeError(f"{type(row).__name__} is not audited")


def _redact(headers: Any) -> Any:
    """Keep references to variables and files; a literal value may be a password."""
    if not isinstance(headers, dict):
        return REDACTED
    return {name: REDACTED if reference(value) is None else value for name, value in headers.items()}


def _after_command(actor: str, action: str, service: str, before: object, after: object, **_: object) -> None:
    record_operation(actor, action, service, before=before, after=after)


def _before_save(sender: type[models.Model], instance: models.Model, using: str, raw: bool, **_: object) -> None:
    stored = None if raw or instance.pk is None else sender._default_manager.using(using).filter(pk=instance.pk).first()
    # For _after_save. A redacted header may differ where its text does not.
    instance._before = serialize(stored), getattr(stored, "headers", None)  # type: ignore[attr-defined]


def _after_save(instance: models.Model, created: bool, raw: bool, **_: object) -> None:
    (before, headers), after = getattr(instance, "_before", (None, None)), serialize(instance)
    if not raw and (before != after or headers != getattr(instance, "headers", None)):
        _record_change(instance, "created" if created else "changed", before, after)


def _after_delete(instance: models.Model, **_: object) -> None:
    _record_change(instance, "deleted", serialize(instance), None)


def _record_change(row: models.Model, verb: str, before: Any, after: Any) -> None:
    action = f"{AUDITED_MODELS[type(row)]}.{verb}"
    record_operation(current_actor().name, action, _service_name(row), before=before, after=after)


def _service_name(row: models.Model) -> str:
    owner = row.service if isinstance(row, Target | Route) else row
    return owner.name if isinstance(owner, Service) else ""
