"""The audit log entry of every operation in the admin, by a command and by the API: actor, before and after."""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from metrics.models import Operation
from resilience.cache.objects import SERVICE
from routing.database import revisions
from routing.database.actor import command_user
from routing.database.apply import apply_document
from routing.models import ApiKey, ConfigurationRevision, Service
from tests.metrics.harness import Harness, ok
from tests.routing.test_admin import TARGET, both, form

pytestmark = pytest.mark.django_db

ADMIN, PROGRAM, COMMAND = "staff:root", "key:", command_user()
DOCUMENT = '{"version": 1, "services": {"crm": {"targets": [{"url": "http://127.0.0.1:9101"}], "rate_limit": "9/m"}}}'


class Operators:
    """Clients that operate on the service `crm`, which is in the database and in use."""

    def __init__(self, harness: Harness) -> None:
        self.root = Client(headers={"X-Request-ID": "req-7"})
        self.root.force_login(User.objects.create_superuser("root", password="for tests alone"))
        self.api_client = Client(headers={"X-Request-ID": "req-7", "X-API-Key": harness.keys["both"]})
        self.crm = Service.objects.get(name="crm")
        self.key = ApiKey.objects.get()

    def act(self, page: str, action: str, row: Any, **more: str) -> None:
        form = {"action": action, "_selected_action": [row.pk], **more}
        assert self.root.post(f"/admin/{page}/", form).status_code == 302

    def save(self) -> None:
        target = {"id": self.crm.targets.get().pk, "service": self.crm.pk, **TARGET}
        posted = form(targets=[target], **both("rate_limit", "5", "", "m"))
        assert self.root.post(f"/admin/routing/service/{self.crm.pk}/change/", posted).status_code == 302

    def delete(self) -> None:
        page = f"/admin/routing/service/{self.crm.pk}/delete/"
        assert self.root.post(page, {"post": "yes"}).status_code == 302

    def roll_back(self) -> None:
        first = ConfigurationRevision.objects.earliest("pk")
        Service.objects.update(rate_limit="7/m")
        assert self.root.post(f"/admin/routing/configurationrevision/{first.pk}/rollback/").status_code == 302

    def reset_one(self) -> None:
        response = self.root.post(f"/admin/metrics/circuit/{self.crm.pk}/reset/", {"_form_submitted": "on"})
        assert response.status_code == 302

    def call(self, method: str, path: str, /, **body: Any) -> None:
        response = getattr(self.api_client, method)(path, body, content_type="application/json")
        assert response.status_code in (200, 202)


class AuditedOperation(NamedTuple):
    name: str
    perform: Callable[[Operators], object]
    actor: str
    action: str
    before: bool
    after: bool

    def __repr__(self) -> str:
        return self.name


def command(*words: str) -> Callable[[Operators], object]:
    return lambda _: call_command(*words, stdout=io.StringIO())


def apply_config(_: Operators) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(DOCUMENT.encode())))
        call_command("config", "apply", "-", stdout=io.StringIO())


def roll_back_config(_: Operators) -> None:
    first = ConfigurationRevision.objects.earliest("pk")
    Service.objects.update(rate_limit="7/m")
    call_command("config", "rollback", str(first.pk), stdout=io.StringIO())


def act_on_circuit(action: str) -> Callable[[Operators], object]:
    return lambda operators: operators.act("metrics/circuit", action, operators.crm, reason="a test")


def act_on_cache(action: str) -> Callable[[Operators], object]:
    return lambda operators: operators.act(
        "metrics/cachedservice", action, operators.crm, tag="contacts", confirmed="yes"
    )


def call_api(method: str, path: str) -> Callable[[Operators], object]:
    return lambda operators: operators.call(method, f"/metrics/{path}")


KEY_FORM = {"name": "ci", "scopes": "[crm]"}
OPERATIONS = [
    AuditedOperation("admin: save", Operators.save, ADMIN, "service.changed", True, True),
    AuditedOperation(
        "admin: switch", lambda d: d.act("routing/service", "disable", d.crm), ADMIN, "service.changed", True, True
    ),
    AuditedOperation("admin: delete", Operators.delete, ADMIN, "service.deleted", True, False),
    AuditedOperation(
        "admin: key", lambda d: d.root.post("/admin/routing/apikey/add/", KEY_FORM), ADMIN, "key.created", False, True
    ),
    AuditedOperation(
        "admin: revoke", lambda d: d.act("routing/apikey", "revoke_keys", d.key), ADMIN, "key.changed", True, True
    ),
    AuditedOperation("admin: rollback", Operators.roll_back, ADMIN, "configuration.rollback", True, True),
    AuditedOperation("admin: reset", act_on_circuit("reset"), ADMIN, "circuit.reset", True, True),
    AuditedOperation("admin: reset one", Operators.reset_one, ADMIN, "circuit.reset", True, True),
    AuditedOperation("admin: open", act_on_circuit("force_open"), ADMIN, "circuit.open", True, True),
    AuditedOperation("admin: disable", act_on_circuit("disable"), ADMIN, "circuit.disable", True, True),
    AuditedOperation("admin: invalidate", act_on_cache("invalidate"), ADMIN, "cache.invalidate", True, True),
    AuditedOperation("admin: flush", act_on_cache("flush"), ADMIN, "cache.invalidate", True, True),
    AuditedOperation("command: apply", apply_config, COMMAND, "service.changed", True, True),
    AuditedOperation("command: rollback", roll_back_config, COMMAND, "configuration.rollback", True, True),
    AuditedOperation(
        "command: key", command("apikey", "create", "ci", "--all-services"), COMMAND, "key.created", False, True
    ),
    AuditedOperation(
        "command: revoke", lambda d: command("apikey", "revoke", d.key.prefix)(d), COMMAND, "key.changed", True, True
    ),
    AuditedOperation(
        "command: invalidate", command("cache", "invalidate", "contacts"), COMMAND, "cache.invalidate", True, True
    ),
    AuditedOperation("command: flush", command("cache", "flush"), COMMAND, "cache.invalidate", True, True),
    AuditedOperation("API: statistics", call_api("post", "cache/reset"), PROGRAM, "cache.reset", True, True),
    AuditedOperation("API: flush", call_api("delete", "cache"), PROGRAM, "cache.flush", True, True),
    AuditedOperation(
        "API: invalidate", call_api("delete", "cache/crm?tag=contacts"), PROGRAM, "cache.invalidate", True, True
    ),
    AuditedOperation("API: warm", call_api("post", "cache/warm"), PROGRAM, "cache.warm", False, True),
    AuditedOperation(
        "API: reset all", call_api("post", "circuit-breakers/reset"), PROGRAM, "circuit.reset", False, True
    ),
    AuditedOperation(
        "API: reset", call_api("post", "circuit-breakers/crm/reset"), PROGRAM, "circuit.reset", True, True
    ),
    AuditedOperation("API: open", call_api("post", "circuit-breakers/crm/open"), PROGRAM, "circuit.open", True, True),
    AuditedOperation(
        "API: disable", call_api("post", "circuit-breakers/crm/disable"), PROGRAM, "circuit.disable", True, True
    ),
]


@pytest.fixture
def operators(harness: Harness) -> Operators:
    harness.serve(ok())
    apply_document({"version": 1, "services": {"crm": {"targets": [{"url": "http://127.0.0.1:9101"}]}}})
    revisions.record_revision()
    call_command("apikey", "create", "first", "--all-services", stdout=io.StringIO())
    assert [harness.request("/api/v1/crm/contacts/1") for _ in range(2)] == [200, 200]
    operators = Operators(harness)
    Operation.objects.all().delete()
    return operators


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_recorded(operators: Operators, operation: AuditedOperation) -> None:
    operation.perform(operators)
    entry = Operation.objects.filter(action=operation.action).latest("pk")
    assert entry.actor.startswith(operation.actor)
    assert (entry.before is not None, entry.after is not None) == (operation.before, operation.after)
    assert entry.before != entry.after or operation.action.startswith("circuit.reset")
    assert entry.request_id == ("req-7" if operation.actor in (ADMIN, PROGRAM) else "")


INVALIDATIONS = [
    AuditedOperation("admin: tag", act_on_cache("invalidate"), ADMIN, "cache.invalidate", True, True),
    AuditedOperation("admin: flush", act_on_cache("flush"), ADMIN, "cache.invalidate", True, True),
    AuditedOperation(
        "command: tag", command("cache", "invalidate", "contacts"), COMMAND, "cache.invalidate", True, True
    ),
    AuditedOperation("command: flush", command("cache", "flush"), COMMAND, "cache.invalidate", True, True),
    AuditedOperation("API: tag", call_api("delete", "cache/crm?tag=contacts"), PROGRAM, "cache.invalidate", True, True),
    AuditedOperation("API: service", call_api("delete", "cache/crm"), PROGRAM, "cache.invalidate", True, True),
    AuditedOperation("API: flush", call_api("delete", "cache"), PROGRAM, "cache.flush", True, True),
]


@pytest.mark.parametrize("operation", INVALIDATIONS)
def test_an_invalidation_is_recorded_with_the_previous_usage(
    operators: Operators, harness: Harness, operation: AuditedOperation
) -> None:
    assert harness.request("/api/v1/crm/contacts/2") == 200
    usage = harness.run(harness.cache.usage("crm"))
    operation.perform(operators)
    entry = Operation.objects.exclude(service=SERVICE).get(action=operation.action)
    assert entry.before == {"entries": 2, "bytes": usage.bytes}
    assert entry.after is not None
    assert entry.after["keysDeleted"] == 2
    assert usage.bytes > 0


def test_a_tag_without_entries_is_recorded_without_the_services_other_entries(operators: Operators) -> None:
    operators.call("delete", "/metrics/cache/crm?tag=other")
    entry = Operation.objects.get(action="cache.invalidate")
    assert entry.before == {"entries": 0, "bytes": 0}
    assert entry.after == {"tag": "other", "keysDeleted": 0}


def perform_rollback(roll_back: Callable[[Operators, int], object], operators: Operators) -> Operation:
    """The audit log entry of a rollback from a second revision to the first."""
    first = ConfigurationRevision.objects.earliest("pk")
    operators.crm.rate_limit = "7/m"
    operators.crm.save()
    revisions.record_revision()
    roll_back(operators, first.pk)
    entry = Operation.objects.get(action="configuration.rollback")
    assert entry.after == {"revision": first.pk, "services": ["crm"]}
    return entry


def by_admin(operators: Operators, revision: int) -> object:
    return operators.root.post(f"/admin/routing/configurationrevision/{revision}/rollback/")


def by_command(_: Operators, revision: int) -> object:
    return call_command("config", "rollback", str(revision), stdout=io.StringIO())


@pytest.mark.parametrize("roll_back", [by_admin, by_command])
def test_a_rollback_is_recorded_with_the_previous_revision(
    operators: Operators, roll_back: Callable[[Operators, int], object]
) -> None:
    entry = perform_rollback(roll_back, operators)
    second = ConfigurationRevision.objects.order_by("pk")[1]
    assert entry.before == {"revision": second.pk}


def test_a_rollback_from_an_unrecorded_configuration_has_no_previous_revision(operators: Operators) -> None:
    operators.roll_back()
    assert Operation.objects.get(action="configuration.rollback").before == {"revision": None}


def test_reads_and_dry_runs_are_not_recorded(operators: Operators) -> None:
    operators.call("delete", "/metrics/cache/crm?dry_run=1")
    command("cache", "flush", "--dry-run")(operators)
    command("cache", "stats")(operators)
    operators.call("post", "/metrics/cache/warm", dry_run=True)
    operators.call("post", "/api/explain", path="/api/v1/crm/x")
    operators.call("get", "/metrics")
    assert not Operation.objects.exists()
