"""The reloader follows changes quickly and keeps the last valid configuration."""

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, field

import pytest

from routing import signals
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.reload import Reloader
from routing.database.apply import apply_document
from routing.database.loader import current_version, load
from routing.router.live import LoadedConfiguration
from routing.router.policy import Target
from routing.router.table import RouteTable, Service
from tests.clock import FakeClock


@dataclass
class Database:
    """A fake source of the configuration, and what the reloader has done with it."""

    number: int = 1
    names: tuple[str, ...] = ("crm",)
    fault: Exception | None = None
    failure: Exception | None = None
    loads: int = 0
    checks: int = 0
    now: float = 1_000.0
    swapped: list[list[str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def version(self) -> int:
        self.checks += 1
        if self.failure:
            raise self.failure
        return self.number

    def load(self) -> LoadedConfiguration:
        self.loads += 1
        self.threads.add(threading.current_thread().name)
        if self.fault:
            raise self.fault
        services = [Service(name, (Target("http://a"),)) for name in self.names]
        return LoadedConfiguration(RouteTable(services, self.number), ())

    def swap(self, loaded: LoadedConfiguration) -> None:
        self.swapped.append(list(loaded.table.services))
        self.arrived.set()

    def reloader(self, interval: float = 0.75) -> Reloader:
        return Reloader(
            self.load,
            self.version,
            self.swap,
            clock=lambda: self.now,
            interval=interval,
            on_fault=lambda error: self.faults.append(str(error)),
        )


DOCUMENT = {"version": 1, "services": {"crm": {"targets": [{"url": "http://a"}]}}}
FAULTY = ConfigurationError([Fault(("services", "crm"), "bad")])


async def test_it_loads_at_the_first_check_and_again_when_the_version_changes() -> None:
    database = Database()
    reloader = database.reloader()
    for _ in range(3):
        await reloader.check()
    assert (database.loads, database.checks, database.swapped) == (1, 3, [["crm"]])
    database.number, database.names = 2, ("crm", "mail")
    await reloader.check()
    assert database.swapped == [["crm"], ["crm", "mail"]]
    assert reloader.status.version == 2


async def test_it_loads_periodically_even_if_the_version_is_unchanged() -> None:
    database = Database()
    reloader = database.reloader()
    await reloader.check()
    database.names = ("mail",)
    database.now += 9.9
    await reloader.check()
    assert database.swapped == [["crm"]]
    database.now += 0.2
    await reloader.check()
    assert database.swapped == [["crm"], ["mail"]]


async def test_a_clock_set_back_does_not_delay_the_periodic_load() -> None:
    database = Database()
    reloader = database.reloader()
    await reloader.check()
    database.now -= 3_600
    await reloader.check()
    assert database.loads == 2


async def test_an_equal_configuration_is_not_swapped() -> None:
    database = Database()
    reloader = database.reloader()
    await reloader.check()
    database.number = 2
    await reloader.check()
    assert (database.loads, database.swapped, reloader.status.version) == (2, [["crm"]], 2)


async def test_a_faulty_configuration_leaves_the_last_valid_one_and_is_reported_once() -> None:
    database = Database()
    reloader = database.reloader()
    await reloader.check()
    database.number, database.fault = 2, FAULTY
    for _ in range(3):
        await reloader.check()
    assert (database.loads, database.swapped) == (2, [["crm"]])
    database.now += 11
    await reloader.check()
    assert (database.loads, database.faults) == (3, ["services.crm: bad"])
    assert (reloader.status.version, reloader.status.fault) == (1, "ConfigurationError: services.crm: bad")
    database.number, database.fault, database.names = 3, None, ("mail",)
    await reloader.check()
    assert (database.swapped[-1], reloader.status.fault, reloader.status.version) == (["mail"], None, 3)


async def test_a_fault_that_recurs_is_reported_again() -> None:
    database = Database()
    reloader = database.reloader()
    for number, fault in enumerate([FAULTY, None, FAULTY]):
        database.number, database.fault = number, fault
        await reloader.check()
    assert len(database.faults) == 2


async def test_a_database_failure_is_survived_and_the_next_check_loads() -> None:
    database = Database()
    reloader = database.reloader()
    await reloader.check()
    database.failure = OSError("no database")
    for _ in range(3):
        await reloader.check()
    assert (database.faults, database.swapped) == (["no database"], [["crm"]])
    database.failure = None
    await reloader.check()
    assert reloader.status.fault is None
    database.number, database.fault = 2, OSError("connection lost")
    await reloader.check()
    database.fault, database.names = None, ("mail",)
    await reloader.check()
    assert database.swapped[-1] == ["mail"]


async def test_waking_from_another_thread_checks_without_waiting_for_the_interval() -> None:
    database = Database()
    reloader = database.reloader(interval=3_600)
    reloader.wake()  # before it runs: no effect
    running = asyncio.create_task(reloader.run())
    await database.arrived.wait()
    database.arrived.clear()
    database.number, database.names = 2, ("mail",)
    await asyncio.to_thread(reloader.wake)
    await database.arrived.wait()
    assert database.swapped[-1] == ["mail"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    reloader.wake()  # after it ran: no effect


async def test_it_checks_at_every_interval() -> None:
    database = Database()
    running = asyncio.create_task(database.reloader(interval=0.001).run())
    await database.arrived.wait()
    database.arrived.clear()
    database.number, database.names = 2, ("mail",)
    await database.arrived.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert all(name.startswith("configuration") for name in database.threads)


async def test_without_a_callback_faults_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    database = Database(fault=FAULTY)
    reloader = Reloader(database.load, database.version, database.swap, clock=lambda: 0.0)
    with caplog.at_level(logging.INFO, "routing.configuration.reload"):
        await reloader.check()
        database.number, database.fault = 2, None
        await reloader.check()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "services.crm: bad" in caplog.text


@pytest.mark.django_db(transaction=True)
async def test_a_service_saved_in_the_database_is_loaded_without_waiting_for_the_interval() -> None:
    arrived: asyncio.Queue[LoadedConfiguration] = asyncio.Queue()

    reloader = Reloader(
        lambda: load(lambda _: None), current_version, arrived.put_nowait, clock=time.time, interval=3_600
    )

    def wake(**_: object) -> None:
        reloader.wake()

    signals.configuration_changed.connect(wake)
    running = asyncio.create_task(reloader.run())
    try:
        assert (await arrived.get()).table.services == {}
        await asyncio.to_thread(apply_document, DOCUMENT)
        assert list((await arrived.get()).table.services) == ["crm"]
    finally:
        signals.configuration_changed.disconnect(wake)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_load_that_takes_long_is_repeated_less_often() -> None:
    """Two seconds a load are five percent of forty."""
    clock, loads = FakeClock(), list[float]()

    def load() -> LoadedConfiguration:
        loads.append(clock())
        clock.advance(2)
        return LoadedConfiguration(RouteTable([], 1), ())

    reloader = Reloader(load, lambda: 1, lambda _loaded: None, clock=clock)
    for _ in range(50):
        await reloader.check()
        clock.advance(1)
    assert len(loads) == 2
    assert loads[1] - loads[0] >= 40
