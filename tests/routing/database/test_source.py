"""What a worker has after loading each change is what a new worker loads."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from routing.authentication.api_keys import ApiKeys
from routing.consumers.policy import UserBinding
from routing.consumers.table import ConsumerTable
from routing.database import changes, loader
from routing.database.api_keys import issue, revoke, rotate
from routing.database.source import SCAN_SECONDS, ConfigurationSource, LoadedServices
from routing.models import ApiKey, ConfigurationChange, Consumer, ConsumerIdentity, Plan, RetiredSecret, Service, Team
from routing.router.live import LoadedConfiguration
from routing.signals import increment_version
from tests.clock import FakeClock

pytestmark = pytest.mark.django_db(transaction=True)
ISSUER = "https://id.example.com"


class Worker:
    """A source, and what a worker makes of its loads. `reads` are how often it has read services."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.reads = 0
        self.source = ConfigurationSource(self._services, clock=self.clock)
        self.loaded = self.load()

    def _services(self, version: int) -> LoadedServices:
        self.reads += 1
        return loader.load_services(lambda _: None, lambda _: None, version)

    def load(self) -> LoadedConfiguration:
        self.loaded = self.source.load()
        self.loaded.apply_changes()
        self.source.applied()
        return self.loaded

    @property
    def keys(self) -> ApiKeys:
        return ApiKeys(self.loaded.keys, ConsumerTable(self.loaded.consumers))

    def check(self, secrets: list[str]) -> None:
        fresh = loader.load(lambda _: None)
        assert self.loaded.keys == fresh.keys
        assert self.loaded.consumers == fresh.consumers
        assert self.loaded.faults == fresh.faults
        assert self.loaded.table == fresh.table
        assert self.loaded.version == fresh.version
        known, now = ApiKeys(fresh.keys, ConsumerTable(fresh.consumers)), timezone.now().timestamp()
        for secret in secrets:
            mine, others = self.keys.find(secret, now), known.find(secret, now)
            assert (mine is None) == (others is None)
            assert mine is None or others is None or (mine.id, mine.scopes) == (others.id, others.scopes)
            assert self.keys.rules(secret) == known.rules(secret)
            assert self.keys.retired_digest(secret) == known.retired_digest(secret)
        for row in ConsumerIdentity.objects.all():
            identity = UserBinding(issuer=row.issuer, subject=row.subject, tenant=row.tenant)
            assert self.loaded.consumers.identities.get(identity) == row.consumer_id


class Operations:
    """Random changes of the database by every way that there is."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.secrets: list[str] = []
        self._count = 0

    def perform(self) -> None:
        operations: list[Callable[[], object]] = [
            self._create_consumer,
            self._create_consumer,
            self._create_key,
            self._create_key,
            self._change_consumer,
            self._change_key,
            self._rotate,
            self._revoke,
            self._delete,
            self._create_identity,
            self._move_identity,
            self._change_team,
            self._change_plan,
            self._rename_plan,
            self._service,
            self._several,
            self._rolled_back,
        ]
        self.random.choice(operations)()

    def _pick(self, model: Any) -> Any:
        rows = list(model.objects.order_by("pk"))
        return self.random.choice(rows) if rows else None

    def _name(self) -> str:
        self._count += 1
        return f"n{self._count}"

    def _create_consumer(self) -> None:
        quota = self.random.choice([None, [{"amount": 5, "per": "day"}]])
        Consumer.objects.create(name=self._name(), team=self._pick(Team), plan=self._pick(Plan), quota=quota)

    def _create_key(self) -> None:
        settings: dict[str, Any] = self.random.choice([{}, {"limits": {"rate": "5/s"}}, {"ip": {"deny": ["10.0.0.1"]}}])
        key = ApiKey(name=self._name(), scopes=["*"], consumer=self._pick(Consumer), **settings)
        self.secrets.append(issue(key))

    def _change_consumer(self) -> None:
        if (row := self._pick(Consumer)) is not None:
            row.enabled, row.team, row.rate = self.random.random() < 0.7, self._pick(Team), "7/m"
            row.save()

    def _change_key(self) -> None:
        if (row := self._pick(ApiKey)) is not None:
            row.methods, row.tenant = self.random.choice([None, ["GET"]]), self._name()
            row.consumer = self._pick(Consumer)
            row.save()

    def _rotate(self) -> None:
        row = self._pick(ApiKey)
        if row is not None and row.revoked_at is None and row.retired.count() < 4:
            self.secrets.append(rotate(row, timedelta(hours=self.random.choice([0, 1]))))

    def _revoke(self) -> None:
        if (row := self._pick(ApiKey)) is not None:
            revoke([row])

    def _delete(self) -> None:
        if (row := self._pick(self.random.choice([Consumer, ApiKey, ConsumerIdentity]))) is not None:
            row.delete()

    def _create_identity(self) -> None:
        if (consumer := self._pick(Consumer)) is not None:
            ConsumerIdentity.objects.get_or_create(
                issuer=ISSUER, subject=self.random.choice("abcdef"), tenant="", defaults={"consumer": consumer}
            )

    def _move_identity(self) -> None:
        if (row := self._pick(ConsumerIdentity)) is not None:
            row.consumer = self._pick(Consumer)
            if self.random.random() < 0.5:
                row.delete()
                row.pk = None
            row.save(force_insert=row.pk is None)

    def _change_team(self) -> None:
        team = self._pick(Team) if self.random.random() < 0.7 else None
        team = team or Team(name=self._name())
        team.plan, team.concurrency = self._pick(Plan), self.random.randint(1, 9)
        team.save()

    def _change_plan(self) -> None:
        plan = self._pick(Plan) if self.random.random() < 0.7 else None
        plan = plan or Plan(name=self._name())
        plan.rate = f"{self.random.randint(1, 99)}/m"
        plan.save()

    def _rename_plan(self) -> None:
        if (plan := self._pick(Plan)) is not None:
            plan.name = self._name()
            plan.save()

    def _service(self) -> None:
        Service.objects.create(name=self._name())

    def _several(self) -> None:
        with transaction.atomic():
            for _ in range(3):
                self.perform()

    def _rolled_back(self) -> None:
        before = len(self.secrets)
        with transaction.atomic():
            self.perform()
            transaction.set_rollback(True)
        del self.secrets[before:]


@pytest.mark.parametrize("seed", range(4))
def test_a_worker_that_loads_changes_has_what_a_new_one_loads(seed: int) -> None:
    worker, operations = Worker(), Operations(seed)
    for _ in range(25):
        for _ in range(operations.random.randint(1, 4)):
            operations.perform()
        if operations.random.random() < 0.8:
            worker.load()
            worker.check(operations.secrets)


@pytest.mark.parametrize("seed", range(2))
def test_changes_that_nobody_recorded_are_found_by_the_scan(seed: int) -> None:
    worker, operations = Worker(), Operations(seed)
    for _ in range(30):
        operations.perform()
    worker.load()
    Consumer.objects.filter(pk__in=list(Consumer.objects.values_list("pk", flat=True)[::2])).update(enabled=False)
    ApiKey.objects.filter(pk__in=list(ApiKey.objects.values_list("pk", flat=True)[::3])).update(
        revoked_at=timezone.now()
    )
    Plan.objects.update(rate="1/s")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM routing_consumeridentity WHERE subject IN ('a', 'b')")
    worker.clock.advance(SCAN_SECONDS)
    worker.load()
    worker.check(operations.secrets)


def test_only_what_has_changed_is_read(django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(20):
        issue(ApiKey(name=f"k{number}", consumer=Consumer.objects.create(name=f"c{number}")))
    worker = Worker()
    before, keys = worker.reads, worker.loaded.keys
    secret = issue(ApiKey(name="new", consumer=Consumer.objects.get(name="c3")))
    with django_assert_max_num_queries(8):
        worker.load()
    assert worker.reads == before
    assert worker.loaded.keys is keys
    assert list(worker.loaded.changes.keys) == [ApiKey.objects.get(name="new").pk]
    assert not worker.loaded.changes.consumers
    assert worker.keys.find(secret, 0.0) is not None


def test_a_service_that_changes_costs_no_reading_of_consumers() -> None:
    Consumer.objects.create(name="c")
    worker = Worker()
    Service.objects.create(name="crm")
    table, consumers = worker.loaded.table, worker.loaded.consumers
    loaded = worker.load()
    assert list(loaded.table.services) == ["crm"]
    assert loaded.table is not table
    assert loaded.consumers is consumers


def test_a_row_that_is_saved_as_it_was_is_no_change() -> None:
    key = ApiKey(name="k")
    issue(key)
    worker = Worker()
    key.owner = "somebody else"
    key.save()
    version = worker.loaded.version
    loaded = worker.load()
    assert not loaded.changes
    assert loaded.version == version + 1


def test_plans_and_teams_hold_for_their_consumers_at_once() -> None:
    plan = Plan.objects.create(name="free", rate="1/m")
    team = Team.objects.create(name="acme", plan=plan)
    secret = issue(ApiKey(name="k", consumer=Consumer.objects.create(name="c", team=team)))
    worker = Worker()

    def rate() -> str:
        caller = worker.keys.find(secret, 0.0)
        assert caller is not None
        assert caller.subscription is not None
        assert caller.subscription.first_rate is not None
        return str(caller.subscription.first_rate.policy)

    assert rate() == "1/60s"
    plan.rate = "2/m"
    plan.save()
    assert worker.load().changes.keys == {}
    assert rate() == "2/60s"
    plan.name = "gratis"
    plan.save()
    worker.load()
    assert rate() == "2/60s"
    team.plan = Plan.objects.create(name="paid", rate="9/s")
    team.save()
    worker.load()
    assert rate() == "9/1s"


def test_changes_that_were_not_made_are_read_again() -> None:
    """As if the event loop had failed between the load and the use of what was loaded."""
    worker = Worker()
    secret = issue(ApiKey(name="k"))
    worker.source.load()
    worker.load()
    assert worker.keys.find(secret, 0.0) is not None
    worker.check([secret])


def test_a_failed_load_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker()
    secret = issue(ApiKey(name="k"))

    def fail(*_: object) -> None:
        raise OSError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr("routing.database.credential_rows.read_keys", fail)
        with pytest.raises(OSError, match="away"):
            worker.source.load()
    worker.load()
    worker.check([secret])
    assert worker.keys.find(secret, 0.0) is not None


@pytest.mark.parametrize("lost", ["pruned", "too many", "unrecorded"])
def test_everything_is_read_where_the_changes_are_not_known(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker()
    monkeypatch.setattr(changes, "MAX_CHANGES", 3)
    secrets = [issue(ApiKey(name=f"k{number}")) for number in range(5 if lost == "too many" else 2)]
    if lost == "pruned":
        first = ConfigurationChange.objects.first()
        assert first is not None
        first.delete()
    if lost == "unrecorded":
        RetiredSecret.objects.create(
            key=ApiKey.objects.get(name="k0"), digest="ab" * 32, valid_until=timezone.now() + timedelta(hours=1)
        )
        increment_version()
    keys = worker.loaded.keys
    worker.load()
    assert worker.loaded.keys is not keys
    worker.check(secrets)


def test_old_changes_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "KEPT", 5)
    monkeypatch.setattr(changes, "_PRUNE_EVERY", 4)
    key = ApiKey(name="k")
    issue(key)
    for _ in range(20):
        key.save()
    assert ConfigurationChange.objects.count() <= 5 + 4
