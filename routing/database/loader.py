"""Loads the route table and the API keys from the database."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet

from routing.authentication.api_keys import KeyRecord
from routing.configuration.decode import VERSION
from routing.configuration.isolate import SecretFault, Unreadable, decode_each
from routing.configuration.values import SecretLookup
from routing.database.connection import thread_connection
from routing.models import ApiKey, ConfigurationVersion, Service
from routing.router.live import LoadedConfiguration
from routing.router.table import RouteTable

_ATTEMPTS: Final = 5
_CORRUPT: Final = (ValueError, TypeError, AttributeError)
"""What a value that no form and no command would have written raises when its row is read."""


@thread_connection()
def current_version() -> int:
    """The number of changes so far, in one small query."""
    return _version()


def _version() -> int:
    return ConfigurationVersion.objects.values_list("number", flat=True).first() or 0


@thread_connection()
def load(secret: SecretLookup, outdated: SecretFault = lambda _: None) -> LoadedConfiguration:
    """The configuration at one version. A faulty row affects its own service or key only.

    `outdated` is as in `decode_each`.

    Raises Django's DatabaseError.
    """
    for _ in range(_ATTEMPTS):
        version = _version()
        rows, (keys, key_faults) = _raw_services(), _key_records()
        # Not in a transaction, which would lock out writers on SQLite: read again if the version changed meanwhile.
        if _version() == version:
            break
    decoded = decode_each({name: item for name, (_, item) in rows.items()}, secret, outdated)
    # A service that was removed and made again has another primary key.
    services = [msgspec.structs.replace(service, incarnation=rows[service.name][0]) for service in decoded.services]
    table = RouteTable(services, version)
    return LoadedConfiguration(table, keys, decoded.invalid, (*decoded.unnamed, *key_faults))


def raw_document() -> dict[str, Any]:
    """The rows as a configuration document, in three queries. `env:NAME` is not resolved."""
    return {"version": VERSION, "services": {row.name: _raw_service(row) for row in _rows()}}


def readable_document() -> dict[str, Any]:
    """The same, without the services whose rows cannot be read."""
    items = {name: item for name, (_, item) in _raw_services().items() if isinstance(item, dict)}
    return {"version": VERSION, "services": items}


def _rows() -> QuerySet[Service]:
    return Service.objects.prefetch_related("targets", "routes")


def _raw_services() -> dict[str, tuple[int, Any]]:
    """Each service's primary key and settings, by name; Unreadable in place of settings that cannot be read."""
    try:
        return {row.name: (row.pk, _raw_service(row)) for row in _rows()}
    except _CORRUPT:
        pairs = Service.objects.order_by("name").values_list("pk", "name")
        return {name: (pk, _readable_service(pk)) for pk, name in pairs}


def _readable_service(pk: int) -> Any:
    try:
        return _raw_service(_rows().get(pk=pk))
    except _CORRUPT as error:
        return Unreadable(f"the service's rows in the database cannot be read: {error}")


def _raw_service(service: Service) -> dict[str, Any]:
    targets = [target.to_document() for target in service.targets.all()]
    return {
        **service.to_document(),
        "targets": targets,
        "routes": [route.to_document() for route in service.routes.all()],
    }


def key_records() -> tuple[KeyRecord, ...]:
    """All keys that are not revoked and can be read. Expiry is checked when a key is used."""
    return _key_records()[0]


def _key_records() -> tuple[tuple[KeyRecord, ...], tuple[str, ...]]:
    """The keys that can be read, and the faults of the others."""
    records, faults = [], []
    for key in _active_keys():
        try:
            records.append(_record(key))
        except _CORRUPT as error:
            faults.append(f"API key gw_{key.prefix} cannot be read and is not accepted: {error}")
    return tuple(records), tuple(faults)


def _active_keys() -> Iterator[ApiKey]:
    # SQLite gives a corrupt time as None, which would be a key that never expires.
    is_limited = ExpressionWrapper(Q(expires_at__isnull=False), BooleanField())
    active = ApiKey.objects.filter(revoked_at=None).order_by("prefix")
    keys = active.annotate(is_limited=is_limited)
    try:
        yield from list(keys)
    except _CORRUPT:
        for prefix in active.values_list("prefix", flat=True):
            try:
                yield keys.get(prefix=prefix)
            except _CORRUPT:
                yield ApiKey(prefix=prefix, scopes="unreadable")


def _record(key: ApiKey) -> KeyRecord:
    """Raises ValueError for a row that no form and no command would have written."""
    if key.scopes is not None and not (isinstance(key.scopes, list) and all(map(_is_string, key.scopes))):
        raise ValueError("scopes is not a list of strings")
    if key.expires_at is None and getattr(key, "is_limited", False):
        raise ValueError("expires_at is not a time")
    return KeyRecord(
        prefix=key.prefix,
        digest=key.digest,
        name=key.name,
        scopes=None if key.scopes is None else frozenset(key.scopes),
        tenant=key.tenant or None,
        expires=key.expires_at.timestamp() if key.expires_at else None,
    )


def _is_string(value: object) -> bool:
    return isinstance(value, str)
