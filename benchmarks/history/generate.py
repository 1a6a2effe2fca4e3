"""Fills a database with a year of history. Rows are made of few different ones, since their number is what counts."""

import json
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models, transaction

from metrics.counting.counts import GATEWAY
from metrics.models import Aggregate, Batch, CircuitChange, DailyUsage, Operation
from metrics.usage.record import UsageKey
from routing.database.apply import apply_document
from routing.models import ApiKey, ConfigurationRevision, Consumer, FailedDelivery, Plan, Team

ROUTES: Final = 10
PERIODS: Final = {"minute": (60, 2 * 1_440), "hour": (3_600, 60 * 24), "day": (86_400, 10_000)}
"""The length in seconds, and how many there are at most."""
CHUNK: Final = 2_000
VARIANTS: Final = 4
OPERATIONS_PER_DAY: Final = 100
SERVICES_PER_CONSUMER: Final = 5
KEYS: Final = 2_000


def generate(now: datetime, *, services: int, days: int, consumers: int) -> dict[str, int]:
    """Returns the number of rows of each table."""
    names = [f"service-{number:03}" for number in range(services)]
    chance = random.Random(7)  # noqa: S311 - the same in each run
    apply_document({"version": 1, "services": {name: _service(number) for number, name in enumerate(names)}})
    with transaction.atomic():
        _aggregates([*names, GATEWAY], now, days, chance)
        _insert(
            CircuitChange(at=at, service=chance.choice(names), before="CLOSED", after="OPEN", reason="5 failures")
            for at in _moments(now, min(days, 60), 50)
        )
        _people(now, days, names, chance)
        owners = _consumers(consumers)
        _usage(now, days, owners, names, chance)
        _revisions()
    return {
        model._meta.label: model._base_manager.count()
        for model in (
            Aggregate,
            CircuitChange,
            Operation,
            LogEntry,
            DailyUsage,
            ApiKey,
            ConfigurationRevision,
            Batch,
            FailedDelivery,
        )
    }


def _service(number: int) -> dict[str, Any]:
    routes = [{"path": f"/resource-{route}/{{id}}", "cache": {"ttl": route + 1}} for route in range(ROUTES)]
    return {"targets": [{"url": f"http://127.0.0.1:{20_000 + number}"}], "routes": routes, "cost_per_call": 0.001}


def _aggregates(names: list[str], now: datetime, days: int, chance: random.Random) -> None:
    """Raw, with texts that are made once: as rows of the model, half a million take minutes."""
    end = int(now.timestamp())
    columns = "resolution, start, service, counts"
    statement = f"INSERT INTO {Aggregate._meta.db_table} ({columns}) VALUES (%s, %s, %s, %s)"  # noqa: S608 - constants
    with connection.cursor() as cursor:
        for resolution, (seconds, most) in PERIODS.items():
            texts = [json.dumps(_counts(seconds, chance)) for _ in range(VARIANTS)]
            starts = range(end // seconds * seconds, end - min(days * 86_400, most * seconds), -seconds)
            rows = [(resolution, start, name, chance.choice(texts)) for start in starts for name in names]
            for first in range(0, len(rows), CHUNK):
                cursor.executemany(statement, rows[first : first + CHUNK])
        total = json.dumps(_counts(days * 86_400, chance))
        cursor.executemany(statement, [("total", 0, name, total) for name in names])


def _counts(seconds: int, chance: random.Random) -> dict[str, int]:
    """Fields of a busy service: durations in many buckets, as they are counted by route too."""
    paths = [f"/resource-{route}/{{id}}" for route in range(ROUTES)]
    found = {f"duration|{bucket}": chance.randint(1, seconds) for bucket in range(250, 330, 1 if seconds > 60 else 3)}
    found |= {
        f"requests|GET|{status}|{path}": chance.randint(1, seconds) for path in paths for status in ("2xx", "5xx")
    }
    found |= {f"cache|{result}": chance.randint(1, seconds) for result in ("HIT", "MISS", "BYPASS")}
    found |= {
        "circuit|success": seconds,
        "circuit|failure": 1,
        "bytes": seconds * 10_000,
        "duration_us": seconds * 9_000,
    }
    found |= {"backend_us": seconds * 20_000} | {f"backend|{bucket}": 1 for bucket in range(300, 330)}
    if seconds == 3_600:
        found |= {
            f"path|{result}|/api/v1/x/resource/{number}": 3 for number in range(100) for result in ("HIT", "MISS")
        }
    return found


def _people(now: datetime, days: int, names: list[str], chance: random.Random) -> None:
    staff = User.objects.create_superuser("ada", password=None)
    kind = ContentType.objects.get_for_model(Consumer)
    moments = list(_moments(now, days, OPERATIONS_PER_DAY))
    document = {"name": "service-001", "cache": {"ttl": 60}, "targets": [{"url": "http://127.0.0.1"}]}
    pks = _insert(
        Operation(
            actor="staff:ada", action="service.changed", service=chance.choice(names), before=document, after=document
        )
        for _ in moments
    )
    _date(Operation, "at", moments, pks)
    _insert(
        LogEntry(user=staff, content_type=kind, object_id="1", object_repr="x", action_flag=2, action_time=at)
        for at in moments
    )


def _consumers(number: int) -> list[Consumer]:
    plan = Plan.objects.create(name="gold", quota=[{"amount": 1_000_000, "per": "month"}])
    teams = [Team.objects.create(name=f"team-{each}", plan=plan) for each in range(20)]
    Consumer.objects.bulk_create(Consumer(name=f"consumer-{each:04}", team=teams[each % 20]) for each in range(number))
    owners = list(Consumer.objects.select_related("team").order_by("pk"))
    _insert(
        ApiKey(
            name=f"key {each}",
            prefix=f"k{each:07}",
            digest=f"{each:064}",
            scopes=["*"],
            consumer=owners[each % len(owners)],
        )
        for each in range(KEYS)
    )
    return owners


def _usage(now: datetime, days: int, owners: list[Consumer], names: list[str], chance: random.Random) -> None:
    def rows() -> Iterator[DailyUsage]:
        for back in range(days):
            day = (now - timedelta(days=back)).date()
            for place, owner in enumerate(owners):
                for service in chance.sample(names, min(SERVICES_PER_CONSUMER, len(names))):
                    team = owner.team.name if owner.team else ""
                    api_key = f"k{place:07}"
                    key = UsageKey(day.isoformat(), owner.name, "", team, service, "/resource-1/{id}", "USD", api_key)
                    yield DailyUsage(
                        key=key.digest,
                        day=day,
                        consumer=owner.name,
                        team=team,
                        service=service,
                        route=key.route,
                        currency="USD",
                        api_key=api_key,
                        requests=100,
                        errors=1,
                        cached=50,
                        bytes_out=10**6,
                        backend_us=10**6,
                        amount=10**9,
                        last_at=int(now.timestamp()) - back * 86_400,
                        is_emitted=True,
                    )

    _insert(rows())


def _revisions() -> None:
    document = ConfigurationRevision.objects.values_list("document", flat=True)[0]
    _insert(
        ConfigurationRevision(actor="staff:ada", summary=f"changed service-{each:03}", document=document)
        for each in range(499)
    )


def _moments(now: datetime, days: int, per_day: int) -> Iterator[datetime]:
    """The oldest first."""
    for number in range(days * per_day, 0, -1):
        yield now.astimezone(UTC) - timedelta(days=number / per_day)


def _insert(rows: Iterable[models.Model]) -> int:
    """Returns how many rows there are."""
    batch: list[models.Model] = []
    total = 0
    for row in rows:
        batch.append(row)
        if len(batch) == CHUNK:
            type(row)._base_manager.bulk_create(batch)
            total, batch = total + len(batch), []
    if batch:
        type(batch[0])._base_manager.bulk_create(batch)
    return total + len(batch)


def _date(model: type[models.Model], field: str, moments: list[datetime], rows: int) -> None:
    """Set the times, which the model sets itself when a row is made."""
    pks = list(model._base_manager.order_by("pk").values_list("pk", flat=True))[-rows:]
    column = f"UPDATE {model._meta.db_table} SET {field} = %s WHERE id = %s"  # noqa: S608 - names of the model
    with connection.cursor() as cursor:
        cursor.executemany(column, list(zip(moments, pks, strict=True)))
