"""Watches through running gateways: two workers before the demonstration's Gmail and Calendar, which are killed."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests

from routing.demo.process import Demonstration
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.conftest import Seed
from tests.system.server import Server

SECRET = "GATEWAY_SECRET_HOOK"
CALENDAR, GMAIL = "calendarIntelligence", "gmailIntelligence"
PAST = "2020-01-01 00:00:00"
ANN = "me@company.example"


class Google:
    """The demonstration's backends; `calls` counts their operations."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.urls = {name: f"http://127.0.0.1:{ports[name]}" for name in (CALENDAR, GMAIL)}

    def set(self, **settings: Any) -> None:
        for url in self.urls.values():
            requests.post(f"{url}/demo/settings", json=settings, timeout=10).raise_for_status()

    def calls(self, service: str, operation: str) -> int:
        found: dict[str, Any] = requests.get(f"{self.urls[service]}/demo/calls", timeout=10).json()
        return int(found["operations"].get(operation, 0))


@pytest.fixture(scope="module", params=["redis", "memory"])
def stores(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def google(stores: str) -> Iterator[Google]:
    """Others for each store, so that calls can be counted."""
    backends = Demonstration({})
    google = Google(backends.start())
    google.set(latency=0.0)
    yield google
    backends.stop()


@pytest.fixture(scope="module")
def server(stores: str, seed: Seed, google: Google) -> Iterator[Server]:
    with closing(RedisServer()) as redis:
        environment = {SECRET: "the channel's token"}
        if stores == "redis":
            redis.start()
            environment["REDIS_URL"] = redis.url
        workers = "2" if stores == "redis" else "1"  # more need Redis
        server = Server("--workers", workers, seed=seed.database, environment=environment)
        file = server.directory / "gateway.yaml"
        file.write_text(json.dumps(configuration(google, f"{server.address}/hooks/calendar")))
        server.environment["GATEWAY_CONFIG"] = str(file)
        with server:
            yield server


def configuration(google: Google, address: str) -> dict[str, Any]:
    services = {
        name: {"preset": preset, "targets": [{"url": google.urls[name]}], "outbound": False}
        for name, preset in ((GMAIL, "gmail"), (CALENDAR, "google-calendar"))
    }
    webhooks = {
        "gmail": {
            "preset": "gmail",
            "service": GMAIL,
            "audience": "x",
            "email": "push@example.com",
            "watch": {"topic": "projects/p/topics/gmail", "mailboxes": [ANN]},
        },
        "calendar": {
            "preset": "google-calendar",
            "service": CALENDAR,
            "secret": f"env:{SECRET}",
            "watch": {"address": address, "calendars": [ANN]},
        },
    }
    return {"version": 1, "services": services, "webhooks": webhooks}


def rows(server: Server) -> dict[str, dict[str, Any]]:
    found = json.loads(server.manage("watch", "--list", "--json"))
    return {row["webhook"]: row for row in found}


def channels(server: Server) -> dict[str, str]:
    """The channel of each webhook that has one, by the database: `rows` takes a second of a processor."""
    with closing(sqlite3.connect(server.database, timeout=30)) as database:
        return dict(database.execute("select webhook, channel from routing_watch where renewed_at is not null"))


def change(server: Server, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(server.database, timeout=30)) as database, database:
        database.execute(statement, values)


def test_two_workers_make_one_channel_and_its_notifications_are_accepted(
    server: Server, google: Google, seed: Seed
) -> None:
    assert eventually(lambda: len(channels(server)) == 2)
    assert eventually(lambda: [row["state"] for row in rows(server).values()] == ["active"] * 2)
    path = f"/api/v1/{CALENDAR}/calendar/v3/calendars/{ANN}/events"
    server.get(path, seed.ours)
    assert eventually(lambda: server.get(path, seed.ours).headers["X-Cache"] == "HIT", 10)
    event = {"start": {"dateTime": "2026-12-01T10:00:00Z"}, "end": {"dateTime": "2026-12-01T11:00:00Z"}}
    requests.post(f"{google.urls[CALENDAR]}{path.removeprefix(f'/api/v1/{CALENDAR}')}", json=event, timeout=10)
    assert eventually(lambda: server.get(path, seed.ours).headers["X-Cache"] == "MISS", 10)
    assert google.calls(CALENDAR, "events.watch") == google.calls(GMAIL, "watch") == 1
    assert google.calls(CALENDAR, "channels.stop") == 0
    metrics = server.get("/metrics", seed.reader, headers={"Accept": "text/plain"}).text
    assert 'gateway_watches{state="active",webhook="calendar"} 1.0' in metrics
    assert "the channel's token" not in server.log + json.dumps(rows(server))


def test_a_killed_worker_loses_nothing(server: Server, google: Google) -> None:
    first = channels(server)["calendar"]
    google.set(latency=10.0)  # a watch takes a second and a half
    calls = google.calls(CALENDAR, "events.watch")
    change(server, "update routing_watch set renew_at=?, due_at=? where webhook='calendar'", PAST, PAST)
    assert eventually(lambda: google.calls(CALENDAR, "events.watch") > calls, 45)
    for worker in server.workers:
        os.kill(worker, signal.SIGKILL)  # whichever has it
    google.set(latency=0.0)
    change(server, "update routing_watch set claimed_until=? where webhook='calendar'", PAST)
    assert eventually(lambda: channels(server)["calendar"] != first, 45)
    assert eventually(lambda: google.calls(CALENDAR, "channels.stop") >= 2, 30)  # the former, and the dead worker's
    assert rows(server)["calendar"]["state"] == "active"


def test_the_command_renews_and_says_what_failed(server: Server, google: Google) -> None:
    calls = google.calls(GMAIL, "watch")
    table = server.manage("watch", "--renew", "--service", GMAIL)
    assert google.calls(GMAIL, "watch") == calls + 1
    assert table.splitlines()[0].startswith("WEBHOOK")
    assert "active" in table
    assert CALENDAR not in table
    google.set(errors={"watch": "userRateLimitExceeded"})
    with pytest.raises(AssertionError, match="1 of 1 watches are not renewed"):
        server.manage("watch", "--renew", "--service", GMAIL)
    assert rows(server)["gmail"]["failure"] in ("userRateLimitExceeded", "backend_limited")
    google.set(errors={})
