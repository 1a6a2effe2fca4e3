"""Loads the route table and the API keys from the database."""

from typing import Any, Final

import msgspec

from routing.authentication.api_keys import KeyRecord
from routing.configuration.decode import VERSION, decode
from routing.configuration.values import SecretLookup
from routing.database.connection import thread_connection
from routing.models import ApiKey, ConfigurationVersion, Service
from routing.router.live import LoadedConfiguration
from routing.router.table import RouteTable

_ATTEMPTS: Final = 5


@thread_connection()
def current_version() -> int:
    """The number of changes so far, in one small query."""
    return _version()


def _version() -> int:
    return ConfigurationVersion.objects.values_list("number", flat=True).first() or 0


@thread_connection()
def load(secret: SecretLookup) -> LoadedConfiguration:
    """The configuration at one version. Raises ConfigurationError with all faults, or Django's DatabaseError."""
    for _ in range(_ATTEMPTS):
        version = _version()
        rows, keys = _rows(), key_records()
        # Not in a transaction, which would lock out writers on SQLite: read again if the version changed meanwhile.
        if _version() == version:
            break
    # A service that was removed and made again has another primary key.
    incarnations = {row.name: row.pk for row in rows}
    services = [
        msgspec.structs.replace(service, incarnation=incarnations[service.name])
        for service in decode(_document(rows), secret)
    ]
    return LoadedConfiguration(RouteTable(services, version), keys)


def raw_document() -> dict[str, Any]:
    """The rows as a configuration document, in three queries. `env:NAME` is not resolved."""
    return _document(_rows())


def _rows() -> list[Service]:
    return list(Service.objects.prefetch_related("targets", "routes"))


def _document(rows: list[Service]) -> dict[str, Any]:
    return {"version": VERSION, "services": {row.name: _raw_service(row) for row in rows}}


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
