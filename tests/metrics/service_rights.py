"""A gateway with two services of which everything is recorded, and staff who have rights for one of them."""

from typing import Any, Final

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model
from django.test import Client

from metrics import selectors, services
from metrics.models import AlertMessage, AlertSilence, AlertState, Circuit, Operation
from metrics.usage.ledger import UsageLedger
from metrics.usage.record import UsageBatch, UsageCounts, UsageKey
from resilience.breaker.machine import State
from routing.configuration.document import canonical
from routing.database import failed_deliveries, masking
from routing.database.actor import acting_as
from routing.database.apply import apply_document
from routing.database.revisions import record_revision
from routing.models import (
    ApiKey,
    BackendCredential,
    ConfigurationProposal,
    ConfigurationRevision,
    FailedDelivery,
    Route,
    Service,
    ServiceRole,
    Target,
    Watch,
)
from routing.pages.site import admin_site
from routing.webhooks.delivery import Delivery
from tests.metrics.callers import TODAY
from tests.metrics.events import NOW
from tests.metrics.harness import Harness, ok

OWN: Final = "crm"
FOREIGN: Final = "zebraledger"
WORD: Final = "zebra"
"""In the name of the other service, and in the names of all that belongs to it."""
BROKEN: Final = b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n"


def _service(name: str) -> dict[str, Any]:
    return {
        "targets": [{"url": f"http://{name}.internal"}],
        "hosts": [f"{name}.example.com"],
        "labels": {"team": name},
        "routes": [{"path": "/contacts/{id}"}],
    }


def document() -> dict[str, Any]:
    return {
        "version": 1,
        "services": {OWN: _service(OWN), FOREIGN: _service(FOREIGN)},
        "webhooks": {
            f"{name}hook": {"verify": "slack", "secret": "env:GATEWAY_SECRET_HOOK", "service": name}
            for name in (OWN, FOREIGN)
        },
        "plans": {"zebraplan": {"services": [FOREIGN], "rate": "5/m"}},
        "alerts": [
            {"name": "zebraalert", "on": ["circuit.open"], "services": [FOREIGN], "to": ["email:zebra@example.com"]}
        ],
    }


def set_up(harness: Harness) -> None:
    """Both services have requests, usage, operations, open circuits, failed deliveries, watches and a history."""
    apply_document(document())
    record_revision()
    for name in (OWN, FOREIGN):
        harness.serve(ok(), ok(), ok(), BROKEN, BROKEN, name=name)
    for name in (OWN, FOREIGN):
        with acting_as("staff:olga"):
            row = Service.objects.get(name=name)
            row.rate_limit = "7/s"
            row.save()
            record_revision()
        for number in range(3):
            harness.request(f"/api/v1/{name}/contacts/{number}")
        harness.request(f"/api/v1/{name}/nope")
        services.override_circuit("staff:olga", name, State.FORCED_OPEN, None, f"{name} is down")
        for subject in ("service", "tenant:a"):
            BackendCredential.objects.create(service=name, subject=subject, client="c", failure="invalid_grant")
            Watch.objects.create(webhook=f"{name}hook", subject=subject, resource="inbox", service=name)
        failed_deliveries.store(Delivery(f"d-{name}", f"{name}hook", 1.0, b"h", "http", (), b"{}", (), 5, "status 500"))
        of = {"subject": name, "service": name, "summary": f"the circuit of {name} is open"}
        AlertState.objects.create(key=name, alert="opened", condition="c", kind="circuit.open", since=NOW, **of)
        AlertSilence.objects.create(
            alert="", service=name, reason=f"{name} again", actor="staff:olga", created_at=NOW, ends_at=NOW + 900
        )
        Operation.objects.create(actor="staff:olga", action="cache.invalidate", service=name, after={"tag": name})
        nothing: dict[str, Any] = {"created": {}, "changed": {}, "deleted": {}}
        proposed = {"summary": f"changed {name}", "service": name, "parts": {}, "identities": ["staff:olga"]}
        ConfigurationProposal.objects.create(author="staff:olga", differences=nothing, **proposed)
    Operation.objects.create(actor="staff:olga", action="configuration.write", after={"changed": [FOREIGN]})
    changes = [{"kind": "firing", "alert": "opened", "condition": "c", "subject": FOREIGN, "summary": "s"}]
    AlertMessage.objects.create(id="m", recipient="slack:zebra", created_at=NOW, due_at=NOW, changes=changes)
    usage = [
        (UsageKey(TODAY, "acme", service=name, route="/contacts/{id}", api_key="aaaaaaaa"), UsageCounts(requests=9))
        for name in (OWN, FOREIGN)
    ]
    UsageLedger().save([UsageBatch("usage", NOW, usage)])
    ApiKey.objects.create(name="a key", prefix="aaaaaaaa", digest="d", scopes=[OWN, FOREIGN], last_used_service=FOREIGN)
    harness.run(harness.request_log.flush())


def member(*roles: tuple[str, list[str], dict[str, str]], by_group: bool = False) -> Client:
    """Eve, with these roles for services, of her own or of a group."""
    eve = User.objects.create_user("eve", is_staff=True)
    holder: dict[str, Any] = {"user": eve}
    if by_group:
        holder = {"group": Group.objects.create(name="team")}
        eve.groups.add(holder["group"])
    for role, named, labels in roles:
        ServiceRole.objects.create(**holder, role=role, services=named, labels=labels)
    client = Client()
    client.force_login(eve)
    return client


def limited(role: str) -> Client:
    return member((role, [OWN], {}))


def rows(model: type[Model], service: str) -> int:
    """The primary key of a row of this model that belongs to the service; 1 where there is none."""
    paths = {
        Service: "name",
        Circuit: "name",
        Route: "service__name",
        Target: "service__name",
        FailedDelivery: "webhook__startswith",
    }
    names = {field.name for field in model._meta.get_fields()}
    path = next((path for kind, path in paths.items() if issubclass(model, kind)), "service")
    if path == "service" and "service" not in names:
        found = model._default_manager.first()
    else:
        found = model._default_manager.filter(**{path: service}).first()
    return found.pk if found is not None else 1


def model_of(address: str) -> type[Model]:
    """That of an admin's page, by the name of its address."""
    for model in sorted(admin_site()._registry, key=lambda each: -len(each._meta.model_name or "")):
        if f"{model._meta.app_label}_{model._meta.model_name}_" in address:
            return model
    named = {
        "metrics-silence": AlertSilence,
        "api-config-revision": ConfigurationRevision,
        "api-config-restore": ConfigurationRevision,
        "api-config-proposal": ConfigurationProposal,
        "admin:undo_revision": ConfigurationRevision,
        "admin:roll_back": ConfigurationRevision,
        "admin:annotate_revision": ConfigurationRevision,
        "admin:approve_proposal": ConfigurationProposal,
        "admin:reject_proposal": ConfigurationProposal,
    }
    return named.get(address, Service)


def foreign_state(harness: Harness) -> dict[str, Any]:
    """Everything that someone with rights for the own service must not change."""
    whole = canonical(masking.whole_document().structure)
    own = whole["services"].pop(OWN, None)
    assert own is not None
    breaker = harness.breakers.of(FOREIGN, selectors.get_service(FOREIGN).policy.breaker)
    records = {
        model.__name__: list(model._default_manager.filter(**where).order_by("pk").values())
        for model, where in (
            (BackendCredential, {"service": FOREIGN}),
            (Watch, {"service": FOREIGN}),
            (FailedDelivery, {"webhook": f"{FOREIGN}hook"}),
            (AlertSilence, {"service__in": ("", FOREIGN)}),
            (ConfigurationProposal, {"service": FOREIGN}),
            (ConfigurationRevision, {"service": FOREIGN}),
            (Operation, {"service": FOREIGN}),
            (ApiKey, {}),
            (ServiceRole, {}),
            (Group, {}),
            (Permission, {}),
        )
    }
    users = list(User.objects.order_by("pk").values("username", "is_staff", "is_superuser", "is_active", "password"))
    entries = harness.run(harness.cache.usage(FOREIGN)).entries
    return {"document": whole, "circuit": breaker.snapshot, "cache": entries, "users": users, **records}
