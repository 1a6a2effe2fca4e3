"""Every door by which the gateway is changed or steered, and what each leaves on record: who, before and after."""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from metrics.models import Operation
from routing.database import revisions
from routing.database.actor import command_user
from routing.database.apply import apply_document
from routing.models import ApiKey, ConfigurationRevision, Service
from tests.metrics.panel import Panel, ok
from tests.routing.test_admin import TARGET, form

pytestmark = pytest.mark.django_db

ADMIN, PROGRAM, COMMAND = "staff:root", "key:", command_user()
DOCUMENT = '{"version": 1, "services": {"crm": {"targets": [{"url": "http://127.0.0.1:9101"}], "rate_limit": "9/m"}}}'


class Doors:
    """Whoever goes through them; each changes or steers the service `crm`, which is served and stored."""

    def __init__(self, panel: Panel) -> None:
        self.root = Client(headers={"X-Request-ID": "req-7"})
        self.root.force_login(User.objects.create_superuser("root", password="for tests alone"))
        self.program = Client(headers={"X-Request-ID": "req-7", "X-API-Key": panel.keys["both"]})
        self.crm = Service.objects.get(name="crm")
        self.key = ApiKey.objects.get()

    def act(self, page: str, action: str, row: Any, **more: str) -> None:
        form = {"action": action, "_selected_action": [row.pk], **more}
        assert self.root.post(f"/admin/{page}/", form).status_code == 302

    def save(self) -> None:
        target = {"id": self.crm.targets.get().pk, "service": self.crm.pk, **TARGET}
        posted = form(targets=[target], rate_limit="5/m")
        assert self.root.post(f"/admin/routing/service/{self.crm.pk}/change/", posted).status_code == 302

    def delete(self) -> None:
        page = f"/admin/routing/service/{self.crm.pk}/delete/"
        assert self.root.post(page, {"post": "yes"}).status_code == 302

    def roll_back(self) -> None:
        first = ConfigurationRevision.objects.earliest("pk")
        Service.objects.update(rate_limit="7/m")
        assert self.root.post(f"/admin/routing/configurationrevision/{first.pk}/rollback/").status_code == 302

    def reset_one(self) -> None:
        answer = self.root.post(f"/admin/metrics/circuit/{self.crm.pk}/reset/", {"_form_submitted": "on"})
        assert answer.status_code == 302

    def call(self, method: str, path: str, /, **body: Any) -> None:
        answer = getattr(self.program, method)(path, body, content_type="application/json")
        assert answer.status_code in (200, 202)


class Door(NamedTuple):
    name: str
    go: Callable[[Doors], object]
    actor: str
    action: str
    before: bool
    after: bool

    def __repr__(self) -> str:
        return self.name


def command(*words: str) -> Callable[[Doors], object]:
    return lambda _: call_command(*words, stdout=io.StringIO())


def applied(_: Doors) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(DOCUMENT.encode())))
        call_command("config", "apply", "-", stdout=io.StringIO())


def went_back(_: Doors) -> None:
    first = ConfigurationRevision.objects.earliest("pk")
    Service.objects.update(rate_limit="7/m")
    call_command("config", "rollback", str(first.pk), stdout=io.StringIO())


def circuits(action: str) -> Callable[[Doors], object]:
    return lambda doors: doors.act("metrics/circuit", action, doors.crm, reason="a test")


def cached(action: str) -> Callable[[Doors], object]:
    return lambda doors: doors.act("metrics/cachedservice", action, doors.crm, tag="contacts")


def asked(method: str, path: str) -> Callable[[Doors], object]:
    return lambda doors: doors.call(method, f"/metrics/{path}")


KEY_FORM = {"name": "ci", "scopes": "[crm]"}
DOORS = [
    Door("admin: save", Doors.save, ADMIN, "service.changed", True, True),
    Door("admin: switch", lambda d: d.act("routing/service", "disable", d.crm), ADMIN, "service.changed", True, True),
    Door("admin: delete", Doors.delete, ADMIN, "service.deleted", True, False),
    Door(
        "admin: key", lambda d: d.root.post("/admin/routing/apikey/add/", KEY_FORM), ADMIN, "key.created", False, True
    ),
    Door("admin: revoke", lambda d: d.act("routing/apikey", "revoke_keys", d.key), ADMIN, "key.changed", True, True),
    Door("admin: rollback", Doors.roll_back, ADMIN, "configuration.rollback", True, True),
    Door("admin: reset", circuits("reset"), ADMIN, "circuit.reset", True, True),
    Door("admin: reset one", Doors.reset_one, ADMIN, "circuit.reset", True, True),
    Door("admin: open", circuits("force_open"), ADMIN, "circuit.open", True, True),
    Door("admin: disable", circuits("disable"), ADMIN, "circuit.disable", True, True),
    Door("admin: invalidate", cached("invalidate"), ADMIN, "cache.invalidate", True, True),
    Door("admin: flush", cached("flush"), ADMIN, "cache.invalidate", True, True),
    Door("command: apply", applied, COMMAND, "service.changed", True, True),
    Door("command: rollback", went_back, COMMAND, "configuration.rollback", True, True),
    Door("command: key", command("apikey", "create", "ci"), COMMAND, "key.created", False, True),
    Door("command: revoke", lambda d: command("apikey", "revoke", d.key.prefix)(d), COMMAND, "key.changed", True, True),
    Door("command: invalidate", command("cache", "invalidate", "contacts"), COMMAND, "cache.invalidate", True, True),
    Door("command: flush", command("cache", "flush"), COMMAND, "cache.invalidate", True, True),
    Door("API: statistics", asked("post", "cache/reset"), PROGRAM, "cache.reset", True, True),
    Door("API: flush", asked("delete", "cache"), PROGRAM, "cache.flush", True, True),
    Door("API: invalidate", asked("delete", "cache/crm?tag=contacts"), PROGRAM, "cache.invalidate", True, True),
    Door("API: warm", asked("post", "cache/warm"), PROGRAM, "cache.warm", False, True),
    Door("API: reset all", asked("post", "circuit-breakers/reset"), PROGRAM, "circuit.reset", False, True),
    Door("API: reset", asked("post", "circuit-breakers/crm/reset"), PROGRAM, "circuit.reset", True, True),
    Door("API: open", asked("post", "circuit-breakers/crm/open"), PROGRAM, "circuit.open", True, True),
    Door("API: disable", asked("post", "circuit-breakers/crm/disable"), PROGRAM, "circuit.disable", True, True),
]


@pytest.fixture
def doors(panel: Panel) -> Doors:
    panel.serve(ok())
    apply_document({"version": 1, "services": {"crm": {"targets": [{"url": "http://127.0.0.1:9101"}]}}})
    revisions.record_revision()
    call_command("apikey", "create", "first", stdout=io.StringIO())
    assert [panel.ask("/api/v1/crm/contacts/1") for _ in range(2)] == [200, 200]
    made = Doors(panel)
    Operation.objects.all().delete()
    return made


@pytest.mark.parametrize("door", DOORS)
def test_what_is_done_is_on_record(doors: Doors, door: Door) -> None:
    door.go(doors)
    done = Operation.objects.filter(action=door.action).latest("pk")
    assert done.actor.startswith(door.actor)
    assert (done.before is not None, done.after is not None) == (door.before, door.after)
    assert done.before != done.after or door.action.startswith("circuit.reset")
    assert done.request_id == ("req-7" if door.actor in (ADMIN, PROGRAM) else "")


TAKEN_BACK = [
    Door("admin: tag", cached("invalidate"), ADMIN, "cache.invalidate", True, True),
    Door("admin: flush", cached("flush"), ADMIN, "cache.invalidate", True, True),
    Door("command: tag", command("cache", "invalidate", "contacts"), COMMAND, "cache.invalidate", True, True),
    Door("command: flush", command("cache", "flush"), COMMAND, "cache.invalidate", True, True),
    Door("API: tag", asked("delete", "cache/crm?tag=contacts"), PROGRAM, "cache.invalidate", True, True),
    Door("API: service", asked("delete", "cache/crm"), PROGRAM, "cache.invalidate", True, True),
    Door("API: flush", asked("delete", "cache"), PROGRAM, "cache.flush", True, True),
]


@pytest.mark.parametrize("door", TAKEN_BACK)
def test_what_is_taken_back_is_on_record_with_what_there_was(doors: Doors, panel: Panel, door: Door) -> None:
    assert panel.ask("/api/v1/crm/contacts/2") == 200
    there = panel.run(panel.cache.usage("crm"))
    door.go(doors)
    done = Operation.objects.get(action=door.action)
    assert done.before == {"entries": 2, "bytes": there.bytes}
    assert done.after is not None
    assert done.after["keysDeleted"] == 2
    assert there.bytes > 0


def test_a_tag_that_nothing_has_is_told_from_the_service_that_has_something(doors: Doors) -> None:
    doors.call("delete", "/metrics/cache/crm?tag=other")
    done = Operation.objects.get(action="cache.invalidate")
    assert done.before == {"entries": 0, "bytes": 0}
    assert done.after == {"tag": "other", "keysDeleted": 0}


def rolled_back(said_by: Callable[[Doors, int], object], doors: Doors) -> Operation:
    """The record of going from a second revision to the first."""
    first = ConfigurationRevision.objects.earliest("pk")
    doors.crm.rate_limit = "7/m"
    doors.crm.save()
    revisions.record_revision()
    said_by(doors, first.pk)
    done = Operation.objects.get(action="configuration.rollback")
    assert done.after == {"revision": first.pk, "services": ["crm"]}
    return done


def by_admin(doors: Doors, revision: int) -> object:
    return doors.root.post(f"/admin/routing/configurationrevision/{revision}/rollback/")


def by_command(_: Doors, revision: int) -> object:
    return call_command("config", "rollback", str(revision), stdout=io.StringIO())


@pytest.mark.parametrize("said_by", [by_admin, by_command])
def test_a_rollback_is_on_record_with_the_revision_before(
    doors: Doors, said_by: Callable[[Doors, int], object]
) -> None:
    done = rolled_back(said_by, doors)
    second = ConfigurationRevision.objects.order_by("pk")[1]
    assert done.before == {"revision": second.pk}


def test_a_rollback_names_no_revision_where_none_says_what_was_served(doors: Doors) -> None:
    doors.roll_back()
    assert Operation.objects.get(action="configuration.rollback").before == {"revision": None}


def test_looking_and_trying_is_not(doors: Doors) -> None:
    doors.call("delete", "/metrics/cache/crm?dry_run=1")
    command("cache", "flush", "--dry-run")(doors)
    command("cache", "stats")(doors)
    doors.call("post", "/metrics/cache/warm", dry_run=True)
    doors.call("post", "/api/explain", path="/api/v1/crm/x")
    doors.call("get", "/metrics")
    assert not Operation.objects.exists()
