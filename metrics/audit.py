"""The audit log: who did what to the gateway, with the state before and after.

Records every change of a row of AUDITED_MODELS, whether made in the admin, by the API or by a command, and the
operations of management commands. Metrics services record their own operations with `record_operation`.
"""

import json
import logging
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, models, transaction
from django.db.models.signals import post_delete, post_save, pre_save

from metrics.middleware import current_request_id
from metrics.models import Operation
from routing.configuration.credentials import MAPS, SECRETS
from routing.configuration.document import inline
from routing.configuration.headers import reference
from routing.configuration.literals import CLIENT_SECRET, SECRET
from routing.database.actor import current_actor
from routing.database.deferred import defer
from routing.database.rows import take_stored
from routing.models import (
    AlertRule,
    ApiKey,
    Consumer,
    ConsumerIdentity,
    Issuer,
    Member,
    Plan,
    PlanRequest,
    Route,
    Service,
    ServiceDocument,
    SigningKey,
    Target,
    Team,
    Webhook,
)
from routing.signals import operation_performed

log = logging.getLogger(__name__)
REDACTED: Final = "***"
DEPLOYMENT: Final = "deployment"
"""The action of a recorded deployment."""
AUDITED_MODELS: Final = {
    Service: "service",
    Target: "target",
    Route: "route",
    ServiceDocument: "openapi",
    Webhook: "webhook",
    Issuer: "issuer",
    AlertRule: "alert",
    ApiKey: "key",
    SigningKey: "signing_key",
    Plan: "plan",
    Team: "team",
    Consumer: "consumer",
    ConsumerIdentity: "identity",
    Member: "member",
    PlanRequest: "plan_request",
}
"""The audited models, by the first word of their actions."""


def record_operation(
    actor: str, action: str, service: str = "", *, before: object = None, after: object = None
) -> Operation:
    """Add an entry to the audit log. `before` and `after` are JSON-serializable and hold no secrets."""
    operation = _operation(actor, action, service, before, after)
    operation.save()
    return operation


def record_performed(
    actor: str, action: str, service: str = "", *, before: object = None, after: object = None
) -> None:
    """The same for an operation that has had its effect outside the database. If the database is unavailable or full,
    the entry is logged instead: staff must be able to act on circuits and the cache during an outage.
    """
    operation = _operation(actor, action, service, before, after)
    try:
        with transaction.atomic():
            operation.save()
    except (DatabaseError, InterfaceError) as error:
        fields = ("actor", "action", "service", "before", "after", "request_id")
        entry = json.dumps({name: getattr(operation, name) for name in fields}, default=str)
        log.error("an operation could not be added to the audit log (%s): %s", str(error).strip(), entry)


def _operation(actor: str, action: str, service: str, before: object, after: object) -> Operation:
    return Operation(
        actor=actor[:200],
        action=action,
        service=service,
        before=before,
        after=after,
        request_id=current_request_id(),
    )


def _save_all(operations: list[Operation]) -> None:
    Operation.objects.bulk_create(operations)


def staff_actor(user: Any) -> str:
    return f"staff:{user.get_username()}"


def shortened(value: object, length: int) -> str:
    """A state in one line of at most `length` characters, which ends with … if something is left out."""
    text = "" if value is None else inline(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


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
            return _key_document(row)
        case SigningKey():
            return _signing_key_document(row)
        case ConsumerIdentity():
            return {"consumer": _consumer_name(row), **row.to_document()}
        case Member() | PlanRequest():
            return _person_document(row)
        case _:
            return _configuration_document(row)


def _configuration_document(row: models.Model) -> dict[str, Any]:
    match row:
        case Plan() | Team() | Consumer():
            return {"name": row.name, **row.to_document()}
        case Service() | Target() | Route():
            return _redact_settings(row)
        case Webhook():
            document = row.to_document()
            return {"name": row.name, **document, SECRET: _redact_secret(document.get(SECRET))}
        case AlertRule():
            return row.to_document()  # whose secrets are references
        case Issuer() | ServiceDocument():
            return _redact_introspection(row.to_document())
    raise TypeError(f"{type(row).__name__} is not audited")


def _key_document(row: ApiKey) -> dict[str, Any]:
    times = {name: getattr(row, name) for name in ("expires_at", "revoked_at", "rotated_at")}
    document = {name: time and time.isoformat() for name, time in times.items()}
    owned = {"consumer": _consumer_name(row), "limits": row.limits}
    names = ("owner", "environment", "methods", "ip")
    shown = {name: value for name, value in owned.items() if value}
    shown |= {name: value for name in names if (value := getattr(row, name))}
    return {"name": row.name, "prefix": row.prefix, "scopes": row.scopes, "tenant": row.tenant} | shown | document


def _signing_key_document(row: SigningKey) -> dict[str, Any]:
    times = {name: value.isoformat() for name in ("expires_at", "valid_until") if (value := getattr(row, name))}
    key = {"public_key": row.public_key} if row.public_key else {"secret": _redact_secret(row.secret)}
    named = {"keyid": row.keyid, "consumer": _consumer_name(row), "algorithm": row.algorithm}
    return named | key | {"scopes": row.scopes} | times


def _consumer_name(row: ApiKey | SigningKey | ConsumerIdentity) -> str | None:
    """The name of the row's consumer, which may be deleted already where the row is deleted with it."""
    if type(row).consumer.is_cached(row):
        return None if row.consumer is None else row.consumer.name
    return Consumer.objects.filter(pk__in=[row.consumer_id]).values_list("name", flat=True).first()


def _person_document(row: Member | PlanRequest) -> dict[str, Any]:
    document = {"consumer": row.consumer.name}
    if isinstance(row, Member):
        joined = {"joined_at": row.joined_at.isoformat()} if row.joined_at else {}
        link = {"link_ends": row.link_ends.isoformat()} if row.link_ends else {}
        return document | {"email": row.email, "role": row.role} | joined | link
    plan = row.plan.name if row.plan else None
    return document | {"plan": plan, "state": row.state, "reason": row.reason, "note": row.note}


def _redact_settings(row: Service | Target | Route) -> dict[str, Any]:
    document = row.to_document()
    if "headers" in document:
        document["headers"] = _redact(document["headers"])
    if document.get("credential"):
        document["credential"] = _redact_credential(document["credential"])
    return document | ({"name": row.name} if isinstance(row, Service) else {})


def _redact(headers: Any) -> Any:
    """Keep references to variables and files; a literal value may be a password."""
    if not isinstance(headers, dict):
        return REDACTED
    return {name: REDACTED if reference(value) is None else value for name, value in headers.items()}


def _redact_introspection(document: dict[str, Any]) -> dict[str, Any]:
    section = document.get("introspection")
    if not isinstance(section, dict) or CLIENT_SECRET not in section:
        return document
    return {**document, "introspection": {**section, CLIENT_SECRET: _redact_secret(section[CLIENT_SECRET])}}


def _redact_secret(value: Any) -> Any:
    if isinstance(value, list):
        return [_redact_secret(item) for item in value]
    return value if value is None or reference(value) is not None else REDACTED


def _redact_credential(section: Any) -> Any:
    """The same of the keys that have secrets, and of parameters that may."""
    oauth2 = section.get("oauth2", {}) if isinstance(section, dict) else None
    if not isinstance(oauth2, dict):
        return REDACTED
    shown = {name: _redact(value) if name in MAPS else value for name, value in oauth2.items()}
    shown |= _redact({name: oauth2[name] for name in SECRETS if name in oauth2})
    return {**section, "oauth2": shown} if oauth2 else section


def _after_command(actor: str, action: str, service: str, before: object, after: object, **_: object) -> None:
    record_operation(actor, action, service, before=before, after=after)


def _before_save(sender: type[models.Model], instance: models.Model, using: str, raw: bool, **_: object) -> None:
    stored = take_stored(instance)
    if stored is None and not raw and instance.pk is not None:
        stored = sender._default_manager.using(using).filter(pk=instance.pk).first()
    # For _after_save. A redacted secret may differ where its text does not.
    instance._before = serialize(stored), _secrets(stored), _place(stored)  # type: ignore[attr-defined] # kept on the instance


def _after_save(instance: models.Model, created: bool, raw: bool, **_: object) -> None:
    before, secrets, place = getattr(instance, "_before", (None, [None, None], None))
    after = serialize(instance)
    if raw:
        return
    if before != after or secrets != _secrets(instance):
        _record_change(instance, "created" if created else "changed", before, after)
    elif place != _place(instance):
        _record_change(instance, "moved", place, _place(instance))


def _place(row: models.Model | None) -> dict[str, Any] | None:
    """A route's position among those of its service, from 1, which its document does not have."""
    return {"route": str(row), "position": row.position + 1} if isinstance(row, Route) else None


def _secrets(row: models.Model | None) -> Any:
    """What may differ although the serialized rows do not: settings with secrets, and documents."""
    if isinstance(row, Webhook | Issuer):
        return row.settings
    if isinstance(row, ServiceDocument):
        return row.document
    if isinstance(row, SigningKey):
        return row.secret
    return [getattr(row, name, None) for name in ("headers", "credential")]


def _after_delete(instance: models.Model, **_: object) -> None:
    _record_change(instance, "deleted", serialize(instance), None)


def _record_change(row: models.Model, verb: str, before: Any, after: Any) -> None:
    action = f"{AUDITED_MODELS[type(row)]}.{verb}"
    defer(_save_all, _operation(current_actor().name, action, _service_name(row), before, after))


def _service_name(row: models.Model) -> str:
    owner = row.service if isinstance(row, Target | Route | ServiceDocument) else row
    return owner.name if isinstance(owner, Service) else ""
