"""Loads the route table and the API keys from the database."""

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

T = TypeVar("T")
_ATTEMPTS: Final = 5


def _with_fresh_connection(function: Callable[..., T]) -> Callable[..., T]:
    """Close stale or broken connections around the call, as Django does around a request, for other threads."""

    @wraps(function)
    def wrapper(*arguments: Any) -> T:
        close_old_connections()
        try:
            return function(*arguments)
        finally:
            close_old_connections()

    return wrapper


@_with_fresh_connection
def current_version() -> int:
    """The number of changes so far, in one small query."""
    return ConfigurationVersion.objects.values_list("number", flat=True).first() or 0


@_with_fresh_connection
def load(secret: SecretLookup) -> LoadedConfiguration:
    """The configuration at one version. Raises ConfigurationError with all faults, or Django's DatabaseError."""
    for _ in range(_ATTEMPTS):
        version = current_version()
        document, keys = raw_document(), key_records()
        # Not in a transaction, which would lock out writers on SQLite: read again if the version changed meanwhile.
        if current_version() == version:
            break
    return LoadedConfiguration(RouteTable(decode(document, secret), version), keys)


def raw_document() -> dict[str, Any]:
    """The rows as a configuration document, in three queries. `env:NAME` is not resolved."""
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
    """All keys that are not revoked. Expiry is checked when a key is used."""
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
