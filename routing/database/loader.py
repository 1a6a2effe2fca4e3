"""Reads the configuration from the database."""

from collections.abc import Collection
from functools import partial
from typing import Any, Final

import msgspec
from django.db.models import QuerySet

from routing.configuration.alerts import decode_each_alert
from routing.configuration.consumers import CONSUMER_SECTIONS
from routing.configuration.decode import VERSION
from routing.configuration.faults import ConfigurationError
from routing.configuration.isolate import SecretFault, Unreadable, decode_each
from routing.configuration.issuers import decode_each_issuer
from routing.configuration.values import SecretLookup
from routing.configuration.webhooks import decode_each_webhook
from routing.database import changes
from routing.database.alerts import raw_alerts
from routing.database.apply_consumers import consumer_documents
from routing.database.connection import thread_connection
from routing.database.issuers import raw_issuers
from routing.database.revocations import revoked
from routing.database.signing_keys import Unseal, load_signing_keys
from routing.database.source import ConfigurationSource, LoadedServices
from routing.models import Member, Service, Webhook
from routing.router.live import LoadedConfiguration
from routing.router.table import RouteTable

_CORRUPT: Final = (ValueError, TypeError, AttributeError, ConfigurationError)
"""What a value that no form and no command would have written raises when its row is read."""


@thread_connection()
def current_version() -> int:
    """The number of changes so far, in one small query."""
    return changes.current_version()


@thread_connection()
def load(
    secret: SecretLookup, outdated: SecretFault = lambda _: None, unseal: Unseal = lambda _name, _sealed: None
) -> LoadedConfiguration:
    """The whole configuration at one version. A faulty row affects its own service, key or consumer only.

    `outdated` is as in `decode_each`; `unseal` decrypts the secrets of signing keys. Raises Django's DatabaseError.
    """
    return ConfigurationSource(partial(load_services, secret, outdated, unseal=unseal)).load()


def load_services(
    secret: SecretLookup,
    outdated: SecretFault,
    version: int,
    *,
    unseal: Unseal = lambda _name, _sealed: None,
) -> LoadedServices:
    """What every route needs. Raises Django's DatabaseError."""
    rows, webhooks = _raw_services(), raw_webhooks()
    issuers, alerts = decode_each_issuer(raw_issuers(), secret), decode_each_alert(raw_alerts(), secret)
    signing_keys, signing_faults = load_signing_keys(secret, unseal)
    decoded = decode_each({name: item for name, (_, item) in rows.items()}, secret, outdated)
    # A service that was removed and made again has another primary key.
    services = [msgspec.structs.replace(service, incarnation=rows[service.name][0]) for service in decoded.services]
    table = RouteTable(
        services,
        version,
        webhooks=decode_each_webhook(webhooks, secret).values(),
        issuers=issuers,
        revocations=revoked(),
        has_members=Member.objects.exists(),
        signing_keys=signing_keys,
        alerts=alerts,
    )
    issuer_faults = [f"issuer {issuer.issuer}: {fault}" for issuer in issuers for fault in issuer.faults]
    alert_faults = [f"alert {alert.name}: {fault}" for alert in alerts for fault in alert.faults]
    other_faults = (*issuer_faults, *alert_faults, *signing_faults)
    return LoadedServices(table, decoded.invalid, tuple(decoded.unnamed), other_faults)


def raw_document() -> dict[str, Any]:
    """The rows as a configuration document, in seven queries. `env:NAME` is not resolved.

    Without teams and consumers, of which there may be very many.
    """
    return _document({row.name: _raw_service(row) for row in _rows()})


def whole_document() -> dict[str, Any]:
    """The same with teams and consumers."""
    return _document({row.name: _raw_service(row) for row in _rows()}, CONSUMER_SECTIONS)


def raw_service(name: str) -> dict[str, Any] | None:
    """One service of the document; None if there is none of the name."""
    row = _rows().filter(name=name).first()
    return None if row is None else _raw_service(row)


def readable_document() -> dict[str, Any]:
    """The same, without the services whose rows cannot be read."""
    items = {name: item for name, (_, item) in _raw_services().items() if isinstance(item, dict)}
    return _document(items)


def raw_webhooks() -> dict[str, Any]:
    """The settings of each webhook, by name; None in place of settings that cannot be read."""
    names = Webhook.objects.values_list("name", flat=True)
    try:
        return {row.name: row.to_document() for row in Webhook.objects.all()}
    except _CORRUPT:
        return {name: _readable_webhook(name) for name in names}


def _readable_webhook(name: str) -> Any:
    try:
        return Webhook.objects.get(name=name).to_document()
    except _CORRUPT:
        return None


def _document(services: dict[str, Any], sections: Collection[str] = ("plans",)) -> dict[str, Any]:
    webhooks = {name: item for name, item in raw_webhooks().items() if item is not None}
    document = {"version": VERSION, "services": services} | ({"webhooks": webhooks} if webhooks else {})
    lists = {"issuers": raw_issuers(), "alerts": raw_alerts()}
    return document | {name: items for name, items in lists.items() if items} | consumer_documents(sections)


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
