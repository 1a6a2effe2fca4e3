"""Two workers watch over one database: each change reaches each recipient once, whichever of them dies."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from metrics.alerts import ledger, messages
from metrics.alerts.conditions import GatewaySnapshot
from metrics.alerts.messages import GIVE_UP_SECONDS, GROUP_SECONDS, MAX_CHANGES, QueuedMessage
from metrics.alerts.notifier import Notifier
from metrics.alerts.sending import SendFailed
from metrics.models import AlertMessage, AlertSilence, AlertState
from metrics.retention.deletion import delete_expired
from metrics.retention.policy import Retention
from metrics.retention.tables import UsageRetention, growing_tables
from resilience.breaker.machine import Snapshot as Circuit
from resilience.breaker.machine import State
from resilience.outage import StoreUnavailable
from routing.alerts.policy import Alert, AlertCondition, ConditionKind, Recipient, RecipientKind
from routing.router.live import LiveConfiguration
from routing.router.policy import Target
from routing.router.table import RouteTable, Service
from tests.clock import FakeClock

pytestmark = pytest.mark.django_db(transaction=True)

SLACK = Recipient(RecipientKind.SLACK, "slack:env:GATEWAY_SECRET_SLACK", "http://127.0.0.1/")
MAIL = Recipient(RecipientKind.EMAIL, "email:a@example.com", "a@example.com")
PAGER = Recipient(RecipientKind.PAGERDUTY, "pagerduty:env:GATEWAY_SECRET_P", "http://127.0.0.1/", b"k")
OPEN = AlertCondition("circuit.open", ConditionKind.CIRCUIT)


class World:
    """The services whose circuits are open, what recipients have accepted, and what they refuse."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.open: set[str] = set()
        self.got: dict[str, list[list[tuple[str, str]]]] = {}
        self.ids: list[str] = []
        self.failures: dict[str, SendFailed] = {}
        self.notifiers: list[Notifier] = []
        self.live = LiveConfiguration()
        self.configure(Alert(name="down", conditions=(OPEN,), recipients=(SLACK, MAIL)))

    def configure(self, *alerts: Alert) -> None:
        services = [Service(name, (Target("http://127.0.0.1:1"),)) for name in ("billing", "crm", "mail")]
        self.live.table = RouteTable(services, alerts=alerts)

    def worker(self) -> Notifier:
        made = Notifier(
            self.live,
            self._read,
            self,  # type: ignore[arg-type] # a Sender
            recipient_of={each.label: each for each in (SLACK, MAIL, PAGER)}.get,
            clock=self.clock,
        )
        self.notifiers.append(made)
        return made

    async def send(self, recipient: Recipient, message: QueuedMessage, now: float) -> None:
        self.ids.append(message.id)
        if failure := self.failures.get(recipient.label):
            raise failure
        changes = [(change.kind.value, change.subject) for change in message.changes]
        self.got.setdefault(recipient.label, []).append(changes)

    async def look(self, worker: Notifier, after: float = 0.0) -> None:
        self.clock.advance(after)
        await worker.run_once()
        await worker._sending.wait()

    async def try_look(self, worker: Notifier) -> None:
        """As a worker does: it looks again later where SQLite's tables are locked."""
        with contextlib.suppress(StoreUnavailable):
            await self.look(worker, 1)

    async def _read(self, alerts: tuple[Alert, ...]) -> GatewaySnapshot:
        circuits = {name: Circuit(state=State.OPEN) for name in self.open}
        return GatewaySnapshot(at=self.clock(), services=self.live.table.services, circuits=circuits)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    for notifier in made.notifiers:
        await notifier.close()


async def test_each_change_reaches_each_recipient_once_over_two_workers(world: World) -> None:
    first, second = world.worker(), world.worker()
    for step in range(40):
        world.open = {"crm"} if step >= 10 else set()
        await asyncio.gather(world.try_look(first), world.try_look(second))
    assert world.got == {SLACK.label: [[("firing", "crm")]], MAIL.label: [[("firing", "crm")]]}
    world.open = set()
    for _ in range(80):
        await asyncio.gather(world.try_look(first), world.try_look(second))
    assert world.got[MAIL.label] == [[("firing", "crm")], [("resolved", "crm")]]


async def test_another_worker_goes_on_when_one_is_killed(world: World) -> None:
    first, second = world.worker(), world.worker()
    world.open = {"crm"}
    await world.look(first)
    await world.look(second, 3)  # the first has the lease, and is killed before anything was sent
    assert world.got == {}
    await world.look(second, ledger.LEASE_SECONDS)
    assert world.got == {SLACK.label: [[("firing", "crm")]], MAIL.label: [[("firing", "crm")]]}
    await world.look(second, 10)
    assert len(world.ids) == 2


async def test_a_worker_that_lost_its_turn_changes_nothing(world: World) -> None:
    first, second = world.worker(), world.worker()
    world.open = {"crm"}
    await world.look(first)
    await world.look(second, 2 * ledger.LEASE_SECONDS)
    world.open = set()
    assert not await first._in_thread(lambda: ledger.apply(first._owner, _must_not_run, world.clock()))


def _must_not_run(*_: Any) -> Any:
    raise AssertionError("the lease is another worker's")


async def test_a_message_that_a_killed_worker_had_claimed_is_sent_again_with_its_id(world: World) -> None:
    first, second = world.worker(), world.worker()
    world.open = {"crm"}
    world.configure(Alert(name="down", conditions=(OPEN,), recipients=(SLACK,)))
    await world.look(first)
    [identifier] = await first._in_thread(lambda: list(AlertMessage.objects.values_list("id", flat=True)))
    claimed = await first._in_thread(lambda: messages.claim(identifier, "killed", world.clock()))
    assert claimed is not None
    await world.look(second, messages.SEND_LEASE_SECONDS - 1)
    assert world.ids == []
    await world.look(second, 1)
    assert world.ids == [identifier]


async def test_changes_that_come_together_are_one_message(world: World) -> None:
    worker = world.worker()
    world.open = {"crm", "billing"}
    await world.look(worker)
    world.open |= {"mail"}
    await world.look(worker, GROUP_SECONDS - 1)
    assert world.got == {}
    await world.look(worker, 1)
    [message] = world.got[SLACK.label]
    assert sorted(message) == [("firing", "billing"), ("firing", "crm"), ("firing", "mail")]


async def test_pagerduty_gets_one_event_for_each(world: World) -> None:
    world.configure(Alert(name="down", conditions=(OPEN,), recipients=(PAGER,)))
    worker = world.worker()
    world.open = {"crm", "billing"}
    for _ in range(3):
        await world.look(worker)
    assert sorted(world.got[PAGER.label]) == [[("firing", "billing")], [("firing", "crm")]]


async def test_a_failing_recipient_is_tried_again_in_order_and_hinders_no_other(world: World) -> None:
    worker = world.worker()
    world.failures[SLACK.label] = SendFailed("status 503", retry_after=120)
    world.open = {"crm"}
    await world.look(worker)
    await world.look(worker, GROUP_SECONDS)
    assert world.got == {MAIL.label: [[("firing", "crm")]]}
    world.open = {"crm", "billing"}
    await world.look(worker, 60)
    await world.look(worker, GROUP_SECONDS)
    assert len(world.ids) == 3  # Retry-After is not over
    del world.failures[SLACK.label]
    await world.look(worker, 60)
    await world.look(worker, 1)
    assert world.got[SLACK.label] == [[("firing", "crm")], [("firing", "billing")]]
    rows = await worker._in_thread(lambda: list(AlertMessage.objects.values_list("state", "tries")))
    assert sorted(rows) == [("sent", 1), ("sent", 1), ("sent", 1), ("sent", 2)]


async def test_what_is_refused_for_good_or_too_old_is_given_up(world: World) -> None:
    worker = world.worker()
    world.failures[SLACK.label] = SendFailed("status 410", is_final=True)
    world.failures[MAIL.label] = SendFailed("the mail server cannot be used")
    world.open = {"crm"}
    await world.look(worker)
    await world.look(worker, GROUP_SECONDS)
    state = AlertMessage.State
    rows = dict(await worker._in_thread(lambda: list(AlertMessage.objects.values_list("recipient", "state"))))
    assert rows == {SLACK.label: state.FAILED, MAIL.label: state.WAITING}
    await world.look(worker, GIVE_UP_SECONDS)
    first = await worker._in_thread(lambda: AlertMessage.objects.filter(recipient=MAIL.label).earliest("created_at"))
    assert (first.state, first.failure) == (state.FAILED, "the mail server cannot be used")


async def test_a_recipient_that_was_removed_before_it_was_told_gets_nothing(world: World) -> None:
    worker = world.worker()
    world.open = {"crm"}
    await world.look(worker)
    world.configure(Alert(name="down", conditions=(OPEN,), recipients=(MAIL,)))
    await world.look(worker, GROUP_SECONDS)
    assert list(world.got) == [MAIL.label]
    row = await worker._in_thread(lambda: AlertMessage.objects.filter(recipient=SLACK.label).earliest("created_at"))
    assert (row.state, row.failure) == ("failed", "the recipient is configured no more")


async def test_a_recipient_that_was_removed_gets_what_has_ended_and_nothing_else(world: World) -> None:
    worker = world.worker()
    world.open = {"crm"}
    await world.look(worker)
    await world.look(worker, GROUP_SECONDS)
    world.open = {"crm", "billing"}
    await world.look(worker)
    world.configure(Alert(name="down", conditions=(OPEN,), recipients=(MAIL,)))
    await world.look(worker, 1)
    await world.look(worker, GROUP_SECONDS)
    assert world.got[SLACK.label] == [[("firing", "crm")], [("resolved", "crm")]]
    assert world.got[MAIL.label] == [[("firing", "crm")], [("firing", "billing")]]


async def test_a_silenced_service_is_notified_once_the_silence_ends(world: World) -> None:
    worker = world.worker()
    fields = {"reason": "deployment", "actor": "staff:ada", "created_at": 0, "ends_at": world.clock() + 60}
    await worker._in_thread(lambda: AlertSilence.objects.create(service="crm", **fields))
    world.open = {"crm", "billing"}
    await world.look(worker)
    await world.look(worker, GROUP_SECONDS)
    assert world.got[SLACK.label] == [[("firing", "billing")]]
    await world.look(worker, 60)
    await world.look(worker, GROUP_SECONDS)
    assert world.got[SLACK.label] == [[("firing", "billing")], [("firing", "crm")]]


async def test_what_is_removed_while_it_holds_is_resolved_once_over_two_workers(world: World) -> None:
    first, second = world.worker(), world.worker()
    world.open = {"crm"}
    await world.look(first)
    await world.look(first, GROUP_SECONDS)
    world.configure()
    await world.look(first)
    await world.look(second, 1)  # the first has the lease, and is killed before anything was sent
    for _ in range(4):
        await world.look(second, ledger.LEASE_SECONDS)
    expected = [[("firing", "crm")], [("resolved", "crm")]]
    assert world.got == {SLACK.label: expected, MAIL.label: expected}
    [reason] = await second._in_thread(
        lambda: {row.changes[-1]["reason"] for row in AlertMessage.objects.all() if row.changes[-1]["reason"]}
    )
    assert reason == "alert_removed"


async def test_without_alerts_nothing_is_read_once_all_is_sent(world: World) -> None:
    worker = world.worker()
    world.open = {"crm"}
    await world.look(worker)
    assert await worker._in_thread(AlertState.objects.count) == 1
    world.configure()
    await world.look(worker)
    assert await worker._in_thread(AlertState.objects.count) == 0
    await world.look(worker, GROUP_SECONDS)
    await world.look(worker)

    def fail(*_: object) -> None:
        raise AssertionError("the database is asked for nothing")

    worker._in_thread = fail  # type: ignore[method-assign,assignment]
    await world.look(worker, 1_000)
    del worker._in_thread


async def test_a_test_is_sent_at_once_recorded_and_not_tried_again(world: World) -> None:
    worker = world.worker()
    world.failures[MAIL.label] = SendFailed("the mail server responded with 450")
    results = await worker.test("down")
    assert sorted(results) == [(MAIL.label, "the mail server responded with 450"), (SLACK.label, "")]
    rows = dict(await worker._in_thread(lambda: list(AlertMessage.objects.values_list("recipient", "state"))))
    assert rows == {SLACK.label: "sent", MAIL.label: "failed"}
    with pytest.raises(LookupError):
        await worker.test("unknown")


async def test_a_flood_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_WAITING", 3)
    worker = world.worker()
    world.configure(Alert(name="down", conditions=(OPEN,), recipients=(PAGER,), resolve_after=0))
    world.failures[PAGER.label] = SendFailed("status 500")
    for number in range(10):
        world.open = {"crm"} if number % 2 else set()
        await world.look(worker, 1)
    states = await worker._in_thread(lambda: list(AlertMessage.objects.values_list("state", flat=True)))
    assert states.count("waiting") <= 4
    services = [Service(f"s{number}", (Target("http://127.0.0.1:1"),)) for number in range(MAX_CHANGES + 1)]
    alert = Alert(name="down", conditions=(OPEN,), recipients=(SLACK,))
    world.live.table = RouteTable(services, alerts=[alert])
    world.open = {service.name for service in services}
    await world.look(worker)
    sizes = await worker._in_thread(
        lambda: [len(row.changes) for row in AlertMessage.objects.filter(recipient=SLACK.label)]
    )
    assert sorted(sizes) == [1, MAX_CHANGES]


async def test_old_messages_and_silences_are_deleted(world: World) -> None:
    worker = world.worker()
    world.open = {"crm"}
    world.failures[MAIL.label] = SendFailed("status 500")
    await world.look(worker)
    await world.look(worker, GROUP_SECONDS)
    fields = {"reason": "deployment", "actor": "staff:ada", "created_at": 0, "ends_at": world.clock() + 60}
    await worker._in_thread(lambda: AlertSilence.objects.create(**fields))
    usage = UsageRetention(1, ZoneInfo("UTC"), has_events=False)
    tables = [table for table in growing_tables(Retention(), usage) if table.name in ("alerts", "silences")]
    deleted = []
    for days in (0, 89, 91):
        now = datetime.fromtimestamp(world.clock(), UTC) + timedelta(days=days)
        deleted.append(await worker._in_thread(partial(delete_expired, tables, now)))
    assert deleted == [{}, {"silences": 1}, {"alerts": 1}]
    assert await worker._in_thread(lambda: AlertMessage.objects.get().recipient) == MAIL.label
