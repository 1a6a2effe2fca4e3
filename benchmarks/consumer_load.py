"""Consumers with keys in a database, and what their load and lookups cost. Imported once Django is set up."""

import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from django.utils import timezone

from routing.authentication.api_keys import ApiKeys
from routing.authentication.key_form import digest, generate_api_key
from routing.consumers.table import ConsumerTable
from routing.database.loader import load_services
from routing.database.source import ConfigurationSource
from routing.models import ApiKey, Consumer, Plan, Team

LOOKUPS: Final = 200_000


def populate(number: int) -> list[str]:
    """Consumers of ten teams and three plans, each with a key. The secrets of some keys."""
    plans = [
        Plan.objects.create(name=name, rate="60/m", quota=[{"amount": 1, "per": "month"}]) for name in ("a", "b", "c")
    ]
    teams = [Team.objects.create(name=f"team-{index}", plan=plans[0]) for index in range(10)]
    Consumer.objects.bulk_create(
        [
            Consumer(name=f"customer-{index}", team=teams[index % 10], plan=plans[index % 3], signed_up=timezone.now())
            for index in range(number)
        ],
        batch_size=500,
    )
    made = [generate_api_key() for _ in range(number)]
    pks = Consumer.objects.values_list("pk", flat=True)
    keys = [
        ApiKey(name=f"key of {pk}", prefix=key.prefix, digest=key.digest, scopes=["crm", "billing"], consumer_id=pk)
        for pk, key in zip(pks, made, strict=True)
    ]
    ApiKey.objects.bulk_create(keys, batch_size=500)
    return [key.key for key in random.sample(made, min(number, 20_000))]


def measure(number: int, secrets: list[str]) -> None:
    source = ConfigurationSource(lambda version: load_services(lambda _: None, lambda _: None, version))
    before, began = _resident(), time.perf_counter()
    loaded = source.load()
    seconds = time.perf_counter() - began
    print(f"{number} consumers with keys: loaded in {seconds:.2f} s, {_resident() - before:.0f} MB more")
    print(f"  at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB in this process")
    keys, now = ApiKeys(loaded.keys, ConsumerTable(loaded.consumers)), time.time()
    records = map(keys.records.by_digest, map(_digest, secrets[:10]))
    few = ApiKeys([record for record in records if record is not None], keys.consumers)
    many, ten = (secrets * (LOOKUPS // len(secrets) + 1))[:LOOKUPS], (secrets[:10] * LOOKUPS)[:LOOKUPS]
    print(f"  a lookup of one of ten keys: {_each(few, ten, now):.2f} us")
    print(f"  a lookup of one of ten keys among all: {_each(keys, ten, now):.2f} us")
    print(f"  a lookup of one of {len(secrets)} keys among all: {_each(keys, many, now):.2f} us")
    key = ApiKey.objects.order_by("?")[0]
    key.tenant = "acme"
    key.save()
    print(f"  the load of a changed key: {1_000 * _time(source.load):.1f} ms")
    loaded.apply_changes()
    source.applied()
    print(f"  a scan of services and some keys: {1_000 * _time(source.load):.0f} ms")


def _digest(secret: str) -> bytes:
    return bytes.fromhex(digest(secret))


def _each(keys: ApiKeys, secrets: list[str], now: float) -> float:
    find = keys.find
    began = time.process_time()
    for secret in secrets:
        assert find(secret, now) is not None
    return (time.process_time() - began) / len(secrets) * 1e6


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _resident() -> float:
    """MB of memory that this process has."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024
