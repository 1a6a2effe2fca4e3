"""What is counted in a worker's memory: under which key, on which day, within which bounds."""

import random
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from metrics.counting.observer import MetricsObserver
from metrics.usage import meter as meter_module
from metrics.usage.days import day_at
from metrics.usage.meter import UsageMeter
from metrics.usage.record import OTHERS, Usage, UsageBatch, UsageCounts, UsageKey, merge, text
from routing.consumers.price import Price
from tests.clock import FakeClock
from tests.metrics.events import NOW, finished
from tests.metrics.usage.requests import caller, count, exchange, progress
from tests.processor_time import ratio

TODAY = "2023-11-14"
EUR = Price(per_request="0.002", currency="EUR")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def meter(clock: FakeClock) -> UsageMeter:
    return UsageMeter(ZoneInfo("UTC"), clock=clock, timer=clock)


def only(usage: Usage) -> tuple[UsageKey, UsageCounts]:
    [item] = usage.items()
    return item


def test_a_request_counts_for_its_consumer_and_team(meter: UsageMeter) -> None:
    acme = caller(consumer="acme", team="sales")
    count(meter, exchange(acme), bytes=10, backend=0.25, cache="MISS")
    count(meter, exchange(acme), bytes=10, cache="HIT")
    count(meter, exchange(caller("jwt+x:y", consumer="acme", team="sales")), status=404, cache="STALE")
    count(meter, exchange(acme), status=502, backend=0.5, cache="REVALIDATED")
    by_key = meter.take()
    assert by_key == {
        UsageKey(TODAY, "acme", "", "sales", "crm", "/x", api_key="abcdefgh"): UsageCounts(
            requests=3, errors=1, cached=1, bytes_out=20, backend_us=750_000
        ),
        UsageKey(TODAY, "acme", "", "sales", "crm", "/x"): UsageCounts(requests=1, errors=1, cached=1),
    }
    assert meter.take() == {}


@pytest.mark.parametrize(
    ("fields", "refused", "limited"),
    [
        ({"status": 401, "code": "unauthenticated"}, 1, 0),
        ({"status": 404, "code": "unknown_service"}, 1, 0),
        ({"status": 429, "code": "rate_limited"}, 1, 1),
        ({"status": 429}, 0, 0),  # the service's own
        ({"status": 403}, 0, 0),
        ({"status": 503, "code": "circuit_open"}, 0, 0),
        ({"status": 499, "aborted": "client_gone"}, 0, 0),
        ({"status": 200, "aborted": "upstream_timeout", "code": "upstream_timeout"}, 0, 0),
    ],
)
def test_what_the_gateway_refused_is_counted(
    meter: UsageMeter, fields: dict[str, Any], refused: int, limited: int
) -> None:
    count(meter, exchange(), **fields)
    counts = only(meter.take())[1]
    assert (counts.refused, counts.limited) == (refused, limited)


def test_without_a_consumer_the_key_or_identity_is_who(meter: UsageMeter) -> None:
    count(meter, exchange(caller("key:aaaaaaaa")))
    count(meter, exchange())
    count(meter, exchange(service=""), status=404, path="/api/v1/random")
    count(meter, exchange(service=""), status=404, path="/api/v1/other")
    count(meter, exchange(service=""), status=202, path="/events")
    taken = meter.take()
    assert {(key.caller, key.api_key, key.service, key.route): counts.requests for key, counts in taken.items()} == {
        ("key:aaaaaaaa", "aaaaaaaa", "crm", "/x"): 1,
        ("", "", "crm", "/x"): 1,
        ("", "", "", ""): 2,
    }


def test_what_the_service_broke_off_is_an_error_and_a_client_that_left_is_none(meter: UsageMeter) -> None:
    count(meter, exchange(), aborted="upstream_timeout")
    count(meter, exchange(), aborted="client_gone")
    assert only(meter.take())[1].errors == 1


@pytest.mark.parametrize(
    ("fields", "nanos"),
    [
        ({}, 2_000_000),
        ({"cache": "HIT"}, 2_000_000),
        ({"status": 404}, 2_000_000),
        ({"status": 429, "code": "rate_limited"}, 0),
        ({"status": 500}, 0),
        ({"status": 502, "code": "bad_gateway"}, 0),
        ({"status": 499, "aborted": "client_gone"}, 0),
    ],
)
def test_a_request_that_was_served_has_its_price(meter: UsageMeter, fields: dict[str, Any], nanos: int) -> None:
    count(meter, exchange(price=EUR), **fields)
    key, counts = only(meter.take())
    assert (key.currency, counts.amount) == ("EUR", nanos)


def test_the_price_of_the_plan_replaces_that_of_the_route_and_a_changed_one_holds_at_once(meter: UsageMeter) -> None:
    count(meter, exchange(caller(consumer="acme", price=Price(per_request="1", currency="EUR")), price=EUR))
    count(meter, exchange(caller(consumer="acme"), price=EUR))
    count(meter, exchange(caller(consumer="acme"), price=Price(per_request="0.000000001", currency="EUR")))
    assert only(meter.take())[1] == UsageCounts(requests=3, amount=1_002_000_001)


def test_a_day_ends_at_midnight_of_the_time_zone(clock: FakeClock) -> None:
    clock.now = datetime(2026, 3, 28, 22, 59, 59, tzinfo=UTC).timestamp()  # the night in which clocks change in Berlin
    meter = UsageMeter(ZoneInfo("Europe/Berlin"), clock=clock)
    count(meter, exchange(), at=clock.now, duration=0.5)
    clock.advance(2)
    count(meter, exchange(), at=clock.now - 0.5, duration=0.4)
    clock.now = datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC).timestamp()
    count(meter, exchange(), at=clock.now, duration=0.5)
    clock.advance(2)
    taken = {key.day: counts.requests for key, counts in meter.take().items()}
    count(meter, exchange(), at=clock.now, duration=0.1)
    taken |= {key.day: counts.requests for key, counts in meter.take().items()}
    assert taken == {"2026-03-28": 1, "2026-03-29": 2, "2026-03-30": 1}


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Beirut", "Africa/Cairo", "Pacific/Apia"]
)
def test_every_instant_is_in_a_day_that_has_not_ended(zone: str) -> None:
    rng, timezone = random.Random(1), ZoneInfo(zone)
    for _ in range(2_000):
        now = rng.uniform(1.2e9, 2.0e9)
        day = day_at(now, timezone)
        assert now < day.ends
        assert day.name == datetime.fromtimestamp(now, timezone).date().isoformat()


def test_a_flood_of_callers_makes_few_rows(meter: UsageMeter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter_module, "MAX_CALLERS", 10)
    for number in range(50):
        count(meter, exchange(caller(f"jwt+x:{number}")))
    count(meter, exchange(caller("jwt+x:3")))
    count(meter, exchange(caller(consumer="acme")))
    count(meter, exchange())
    taken = meter.take()
    assert sum(counts.requests for counts in taken.values()) == 53
    assert {key.caller: counts.requests for key, counts in taken.items() if key.caller == OTHERS} == {OTHERS: 40}
    assert {key.consumer for key in taken} == {"", "acme"}
    assert len(taken) == 13
    count(meter, exchange(caller("jwt+x:3")))
    assert only(meter.take())[0].caller == "jwt+x:3"


def test_consumers_keys_are_told_apart_within_a_bound(meter: UsageMeter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter_module, "MAX_ROWS", 3)
    for number in range(6):
        count(meter, exchange(caller(f"key:aaaaaaa{'abcdef'[number]}", consumer="acme")))
    taken = {key.api_key: counts.requests for key, counts in meter.take().items()}
    assert taken == {"aaaaaaaa": 1, "aaaaaaab": 1, "aaaaaaac": 1, "": 3}


def test_a_flood_between_two_seals_is_bounded_too(meter: UsageMeter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter_module, "MAX_ROWS", 10)
    for number in range(200):
        count(meter, exchange(caller(f"jwt+x:{number % 5}"), route=f"/{number}"))
    assert len(meter._rows) <= 10 + 200  # routes are the configuration's
    assert sum(counts.requests for counts in meter.take().values()) == 200


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 10_000, "é" * 301])
def test_names_can_be_stored_by_every_database(name: str) -> None:
    stored = text(name)
    assert len(stored) <= 300
    assert "\0" not in stored
    assert stored.encode()
    assert text(name + "1") != stored


def test_a_long_response_is_counted_while_it_goes_on(meter: UsageMeter, clock: FakeClock) -> None:
    stream, made = progress(), exchange(caller(consumer="acme"))
    made.started = clock.now
    meter.opened(made, stream, 200)
    stream.sent = 100
    assert meter.take() == {}
    clock.advance(6)
    assert only(meter.take())[1] == UsageCounts(requests=1, bytes_out=100)
    assert meter.take() == {}
    stream.sent = 250
    clock.now = datetime(2023, 11, 15, tzinfo=UTC).timestamp() + 1
    key = UsageKey("2023-11-15", "acme", service="crm", route="/x", api_key="abcdefgh")
    assert only(meter.take()) == (key, UsageCounts(bytes_out=150))
    stream.sent = 260
    count(meter, made, at=clock.now, bytes=260, aborted="upstream_timeout")
    assert only(meter.take())[1] == UsageCounts(errors=1, bytes_out=10)
    assert meter._transfers == {}


def test_a_short_response_is_counted_once(meter: UsageMeter) -> None:
    stream, made = progress(), exchange()
    meter.opened(made, stream, 200)
    stream.sent = 100
    count(meter, made, bytes=100, backend=0.1)
    assert only(meter.take())[1] == UsageCounts(requests=1, bytes_out=100, backend_us=100_000)


def test_a_websocket_counts_when_it_is_accepted_and_its_messages_as_they_come(
    meter: UsageMeter, clock: FakeClock
) -> None:
    tunnel, made = progress(), exchange()
    made.started = clock.now
    count(meter, made, status=101)
    meter.opened(made, tunnel, 101)
    tunnel.received, tunnel.sent = 3, 4
    assert only(meter.take())[1] == UsageCounts(requests=1)
    clock.advance(6)
    assert only(meter.take())[1] == UsageCounts(bytes_in=3, bytes_out=4)
    tunnel.received = 5
    meter.closed(made)
    assert only(meter.take())[1] == UsageCounts(bytes_in=2)
    meter.closed(made)
    assert meter.take() == {}


@pytest.mark.parametrize("seed", range(20))
def test_batches_merge_to_what_was_counted_in_any_order_and_split(seed: int) -> None:
    rng = random.Random(seed)
    keys = [
        UsageKey(f"2026-01-0{day}", consumer, service=service) for day in "12" for consumer in "ab" for service in "xyz"
    ]
    expected: Usage = {}
    batches: list[UsageBatch] = []
    for number in range(rng.randrange(1, 40)):
        rows = []
        for key in rng.sample(keys, rng.randrange(1, len(keys))):
            counts = UsageCounts(*(rng.randrange(10**15) for _ in range(9)))
            rows.append((key, counts))
            expected.setdefault(key, UsageCounts()).add(counts)
        batches.append(UsageBatch(str(number), 0.0, rows))
    rng.shuffle(batches)
    half = rng.randrange(len(batches) + 1)
    first, second = merge(batches[:half]), merge(batches[half:])
    again = merge([UsageBatch("1", 0.0, list(first.items())), UsageBatch("2", 0.0, list(second.items()))])
    assert merge(batches) == again == expected


def test_it_costs_less_than_the_metrics(meter: UsageMeter) -> None:
    who, observer = exchange(caller(consumer="acme")), MetricsObserver()
    event = finished(at=NOW, service="crm", route="/x", cache="HIT", bytes=10)

    def count_usage() -> None:
        for _ in range(2_000):
            meter.finished(who, event)

    def count_metrics() -> None:
        for _ in range(2_000):
            observer.finished(event)

    assert ratio(count_usage, count_metrics, 0.5) < 0.5
