"""From the database's rows to what the request's way follows: the route table and the API keys."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

from django.db import close_old_connections

from routing.authentication.api_keys import KeyRecord
from routing.configuration.decode import VERSION, decode
from routing.configuration.values import SecretLookup
from routing.models import ApiKey, ConfigurationVersion, Service
from routing.router.live import LoadedConfiguration
from routing.router.table import RouteTable

Value = TypeVar("Value")
_ATTEMPTS: Final = 5


def _on_a_live_connection(read: Callable[..., Value]) -> Callable[..., Value]:
    """For threads that no request cycle tidies up after: stale or broken connections are dropped around the call."""

    @wraps(read)
    def reading(*arguments: Any) -> Value:
        close_old_connections()
        try:
            return read(*arguments)
        finally:
            close_old_connections()

    return reading


@_on_a_live_connection
def current_version() -> int:
    """How many changes there have been: one small query."""
    return ConfigurationVersion.objects.values_list("number", flat=True).first() or 0


@_on_a_live_connection
def load(secret: SecretLookup) -> LoadedConfiguration:
    """All of it, from one version's rows. Raises ConfigurationError with every fault, or Django's DatabaseError."""
    for _ in range(_ATTEMPTS):
        version = current_version()
        document, keys = raw_document(), key_records()
        # Read without a transaction, which on SQLite would keep writers out; so nothing may have changed meanwhile.
        if current_version() == version:
            break
    return LoadedConfiguration(RouteTable(decode(document, secret), version), keys)


def raw_document() -> dict[str, Any]:
    """The rows as the file would say them, in three queries."""
    services = Service.objects.prefetch_related("targets", "routes")
    return {"version": VERSION, "services": {service.name: _raw_service(service) for service in services}}


def _raw_service(service: Service) -> dict[str, Any]:
    targets = [target.to_document() for target in service.targets.all()]
    return {
        **service.to_document(),
        "targets": targets,
        "routes": [route.to_document() for route in service.routes.all()],
    }


def key_records() -> tuple[KeyRecord, ...]:
    """Every key that is not revoked. Expired ones are refused by the clock, where they are used."""
    return tuple(_record(key) for key in ApiKey.objects.filter(revoked_at=None).order_by("prefix"))


def _record(key: ApiKey) -> KeyRecord:
    return KeyRecord(
        prefix=key.prefix,
        digest=key.digest,
        name=key.name,
        scopes=None if key.scopes is None else frozenset(key.scopes),
        tenant=key.tenant or None,
        expires=key.expires_at.timestamp() if key.expires_at else None,
    )
