"""Usage in the database: each batch once, few rows for many callers, and no more days than wanted."""

import contextlib
import importlib
import time
from datetime import date
from hashlib import blake2b
from threading import Barrier, Thread
from types import SimpleNamespace

import msgspec
import pytest
from django.apps import apps
from django.db import OperationalError, connection

from metrics.models import DailyUsage
from metrics.usage.ledger import UsageLedger
from metrics.usage.record import OTHERS, UsageBatch, UsageCounts, UsageKey

pytestmark = pytest.mark.django_db(transaction=True)

KEY = UsageKey("2026-01-01", "acme", "", "sales", "crm", "/a", "EUR")


def batch(identifier: str, *keys: UsageKey, counts: UsageCounts | None = None) -> UsageBatch:
    return UsageBatch(identifier, 0.0, [(key, counts or UsageCounts(1, 2, 3, 4, 5, 6, 7)) for key in keys])


def test_a_batch_is_added_once() -> None:
    ledger = UsageLedger()
    ledger.save([batch("1", KEY), batch("2", KEY)])
    ledger.save([batch("2", KEY), batch("3", KEY)])
    row = DailyUsage.objects.get()
    assert (row.day, row.consumer, row.team, row.service, row.route, row.currency) == (
        date(2026, 1, 1),
        "acme",
        "sales",
        "crm",
        "/a",
        "EUR",
    )
    counts = (row.requests, row.errors, row.cached, row.bytes_in, row.bytes_out, row.backend_us, row.amount)
    assert counts == (3, 6, 9, 12, 15, 18, 21)


def test_a_row_has_its_refusals_its_key_and_its_last_use() -> None:
    ledger, key = UsageLedger(), KEY._replace(api_key="abcdefgh")
    at = {"1": 1_767_225_700.9, "2": 1_767_225_600.0, "3": 1_767_225_650.0}
    batches = [UsageBatch(name, at[name], [(key, UsageCounts(1, refused=2, limited=1))]) for name in at]
    ledger.save(batches[:2])
    ledger.save(batches[2:])
    row = DailyUsage.objects.get()
    assert (row.api_key, row.refused, row.limited, row.last_at) == ("abcdefgh", 6, 3, 1_767_225_700)


def test_batches_and_rows_of_an_earlier_version_are_still_added_up() -> None:
    text = "2026-01-01", "acme", "", "sales", "crm", "/a", "EUR"
    old = msgspec.msgpack.encode(["old", 1_767_225_600.0, [[text, [1, 0, 0, 0, 0, 0, 0]]]])
    UsageLedger().save([msgspec.msgpack.decode(old, type=UsageBatch), batch("new", KEY)])
    row = DailyUsage.objects.get()
    assert (row.requests, row.key) == (2, blake2b("\0".join(text).encode(), digest_size=16).hexdigest())


def test_the_migration_names_the_keys_of_rows_without_a_consumer() -> None:
    DailyUsage.objects.create(key="1", day="2026-01-01", caller="key:abcdefgh")
    DailyUsage.objects.create(key="2", day="2026-01-01", caller="jwt+x:key:abcdefgh")
    name_keys = importlib.import_module("metrics.migrations.0007_usage_of_keys").name_keys
    name_keys(apps, SimpleNamespace(connection=connection))
    assert list(DailyUsage.objects.order_by("key").values_list("api_key", flat=True)) == ["abcdefgh", ""]


def test_workers_that_add_the_same_batches_at_once_add_them_once() -> None:
    keys = [KEY._replace(consumer=f"c{number}") for number in range(20)]
    barrier = Barrier(4)

    def work() -> None:
        barrier.wait()
        for number in range(5):
            for _ in range(1_000):
                with contextlib.suppress(OperationalError):  # the tables of a database in memory are locked as a whole
                    UsageLedger().save([batch(f"shared-{number}", *keys)])
                    break
                time.sleep(0.005)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(DailyUsage.objects.values_list("requests", flat=True)) == [5] * 20


def test_callers_that_are_too_many_for_their_day_are_added_to_the_others() -> None:
    ledger = UsageLedger(max_caller_rows=3)
    callers = [UsageKey("2026-01-01", caller=f"jwt+x:{number}", service="crm") for number in range(6)]
    ledger.save([batch("1", *callers[:3])])
    ledger.save([batch("2", *callers, KEY, UsageKey("2026-01-02", caller="jwt+x:9", service="crm"))])
    found = {(str(row.day), row.caller or row.consumer): row.requests for row in DailyUsage.objects.all()}
    assert found == {
        ("2026-01-01", "jwt+x:0"): 2,
        ("2026-01-01", "jwt+x:1"): 2,
        ("2026-01-01", "jwt+x:2"): 2,
        ("2026-01-01", OTHERS): 3,
        ("2026-01-01", "acme"): 1,
        ("2026-01-02", "jwt+x:9"): 1,
    }
