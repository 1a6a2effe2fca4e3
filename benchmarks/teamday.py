"""Plays the scripted day through a gateway with presets alone, before the demonstration's backends.

The clocks of the gateway and the backends follow the script, so that eight hours take a minute. After each change at
the source the script waits for SETTLE_SECONDS of real time, in which webhooks arrive.
"""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from benchmarks import day
from benchmarks.processes import ROOT, free_port, responds, server_process
from benchmarks.servers import UNLIMITED, temporary_directory
from benchmarks.stats import Threshold, table, verdict
from benchmarks.timelapse import Timelapse

SETTLE_SECONDS: Final = 0.2
SIGNING_KEY: Final = "known to the demonstration and to the gateway"
PUSH_EMAIL: Final = "gmail-push@demonstration.iam.gserviceaccount.com"
BACKENDS: Final = {
    "slack": "slackIntelligence",
    "gmail": "gmailIntelligence",
    "calendar": "calendarIntelligence",
    "crm": "crm",
}
PRESETS: Final = {"slack": "slack", "gmail": "gmail", "calendar": "google-calendar", "crm": "hubspot"}
THRESHOLDS: Final = {
    "slack": Threshold(0.80),
    "gmail": Threshold(0.70),
    "calendar": Threshold(0.80),
    "crm": Threshold(0.80),
}
NONE: Final = Threshold(0, maximum=True)
KEYS: Final = """
import json
from routing.database.api_keys import issue
from routing.models import ApiKey
print(json.dumps([issue(ApiKey(name=f"person {n}", scopes=["*"])) for n in range(%d)]))
"""


@dataclass(frozen=True)
class Played:
    """The servers of one run: `keys` by person, `ports` of the backends by service."""

    gateway: int
    ports: dict[str, int]
    keys: list[str]
    clock: Timelapse


def report(with_webhooks: bool) -> str:
    """Play the day once. A Markdown section."""
    with _servers(with_webhooks) as played:
        tallies = Player(played, with_webhooks).play()
    rows = [_row(name, tally, with_webhooks) for name, tally in tallies.items()]
    head = [
        "",
        "requests",
        "hits",
        "",
        "backend calls saved",
        "",
        "outdated",
        "later than 2 s",
        "",
        "longest",
        "failed",
    ]
    title = f"A day of a team of {len(day.PEOPLE)}, webhooks {'on' if with_webhooks else 'off'}"
    return f"### {title}\n\n{table(head, rows)}"


def _row(name: str, tally: day.Tally, with_webhooks: bool) -> list[str]:
    bound = THRESHOLDS[name]
    rates = [f"{rate:.1%} (at least {bound.bound:.0%})" for rate in (tally.hit_rate, tally.saved)]
    late = verdict(tally.late + tally.unknown, NONE) if with_webhooks else ""
    longest = f"{max(tally.outdated, default=0.0):.0f} s"
    return [
        name,
        f"{tally.requests:,}",
        rates[0],
        verdict(tally.hit_rate, bound),
        rates[1],
        verdict(tally.saved, bound),
        str(len(tally.outdated)),
        str(tally.late + tally.unknown),
        late,
        longest,
        str(tally.failed),
    ]


class Player:
    """Sends the day's requests and changes in order, one at a time."""

    def __init__(self, played: Played, with_webhooks: bool) -> None:
        self._played = played
        self._with_webhooks = with_webhooks
        self._gateway = http.client.HTTPConnection("127.0.0.1", played.gateway, timeout=60)
        self._sources = {
            name: http.client.HTTPConnection("127.0.0.1", port, timeout=60) for name, port in played.ports.items()
        }
        self._source = day.Source()
        self._own_calls = dict.fromkeys(played.ports, 0)

    def play(self) -> dict[str, day.Tally]:
        """The tallies by service."""
        self._prepare()
        messages = {address: self._message_ids(address) for address in day.PEOPLE}
        before = {name: self._calls(name) - self._own_calls[name] for name in self._sources}
        tallies = {name: day.Tally() for name in self._sources}
        steps: list[day.Visit | day.Change] = [*day.visits(messages), *day.changes()]
        for step in sorted(steps, key=lambda step: step.at):
            self._played.clock.set(step.at - day.MORNING)
            if isinstance(step, day.Change):
                self._change(step)
            else:
                self._visit(step, tallies[step.read.service])
        for name, tally in tallies.items():
            tally.calls = self._calls(name) - self._own_calls[name] - before[name]
        for connection in (self._gateway, *self._sources.values()):
            connection.close()
        return tallies

    def _visit(self, visit: day.Visit, tally: day.Tally) -> None:
        read = visit.read
        if read not in self._source.versions:
            self._source.record(read, 0.0, self._direct(read))
        headers = {"X-API-Key": self._played.keys[visit.person], **_type(read)}
        self._gateway.request(read.method, f"/api/v1/{read.service}{read.path}", read.body or None, headers)
        response = self._gateway.getresponse()
        body = response.read()
        outdated = self._source.outdated_seconds(read, visit.at, body) if response.status == 200 else None
        tally.count(response.status, response.headers.get("X-Cache", ""), outdated)

    def _change(self, change: day.Change) -> None:
        method, path, body = _source_change(change)
        if change.service != "gmail":  # whose change is no call of the API
            self._own_calls[change.service] += 1
        self._send(change.service, method, path, body)
        for read in self._source.dependent(change.resource):
            self._source.record(read, change.at, self._direct(read))
        if self._with_webhooks:
            time.sleep(SETTLE_SECONDS)

    def _prepare(self) -> None:
        """Switch off latency and limits, and have changes reported."""
        for name in self._sources:
            hook = {"url": self._hook(name), "secret": SIGNING_KEY} if self._with_webhooks else None
            settings = {"latency": 0.0, "limits": False, "webhook": hook}
            self._send(name, "POST", "/demo/settings", settings)
        if not self._with_webhooks:
            return
        channel = {"id": "team", "type": "web_hook", "address": self._hook("calendar"), "token": SIGNING_KEY}
        self._send("calendar", "POST", f"/calendar/v3/calendars/{quote(day.TEAM)}/events/watch", channel)
        for address in day.PEOPLE:
            topic = {"topicName": "projects/demonstration/topics/gmail"}
            self._send("gmail", "POST", f"/gmail/v1/users/{quote(address)}/watch", topic)

    def _hook(self, service: str) -> str:
        return f"http://127.0.0.1:{self._played.gateway}/hooks/{service}"

    def _message_ids(self, address: str) -> list[str]:
        body = self._direct(day.Read("gmail", "GET", f"/gmail/v1/users/{quote(address)}/messages"))
        return [message["id"] for message in json.loads(body)["messages"][:2]]

    def _direct(self, read: day.Read) -> bytes:
        self._own_calls[read.service] += 1
        connection = self._sources[read.service]
        connection.request(read.method, read.path, read.body or None, _type(read))
        return _content(connection)

    def _send(self, service: str, method: str, path: str, body: Mapping[str, Any]) -> None:
        connection = self._sources[service]
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        _content(connection)

    def _calls(self, service: str) -> int:
        connection = self._sources[service]
        connection.request("GET", "/demo/calls")
        return int(json.loads(_content(connection))["total"])


def _content(connection: http.client.HTTPConnection) -> bytes:
    response = connection.getresponse()
    body = response.read()
    if response.status >= 300:
        raise RuntimeError(f"the source responded {response.status}: {body[:200]!r}")
    return body


def _type(read: day.Read) -> dict[str, str]:
    return {"Content-Type": "application/x-www-form-urlencoded"} if read.method == "POST" else {}


def _source_change(change: day.Change) -> tuple[str, str, dict[str, Any]]:
    """Method, path and body of a change; its time makes it differ from others."""
    at = f"{change.at:.3f}"
    if change.service == "slack":
        return "POST", "/api/chat.postMessage", {"channel": change.key, "text": f"At {at}"}
    if change.service == "gmail":
        mail = {"from": "a@b.example", "subject": at, "text": f"At {at}"}
        return "POST", f"/demo/deliver/{quote(change.key)}", mail
    if change.service == "calendar":
        path = f"/calendar/v3/calendars/{quote(day.TEAM)}/events/{change.key}"
        return "PATCH", path, {"location": f"Room {at}"}
    return "PATCH", f"/crm/v3/objects/contacts/{change.key}", {"properties": {"annualrevenue": str(int(change.at))}}


@contextmanager
def _servers(with_webhooks: bool) -> Iterator[Played]:
    with ExitStack() as stack:
        directory = stack.enter_context(temporary_directory())
        clock_file = directory / "clock"
        clock = stack.enter_context(Timelapse(clock_file))
        timelapse = [sys.executable, "-m", "benchmarks.timelapse", str(clock_file)]
        ports = stack.enter_context(_demonstration(timelapse))
        port = free_port()
        file = directory / "gateway.yaml"
        file.write_text(json.dumps(_document(ports, port, with_webhooks)))
        variables = _variables(directory, file, port)
        command = [*timelapse, "manage", "rungateway"]
        stack.enter_context(
            server_process(command, responds(f"http://127.0.0.1:{port}/health/ready"), environment=variables)
        )
        yield Played(port, ports, _keys(variables), clock)


@contextmanager
def _demonstration(timelapse: list[str]) -> Iterator[dict[str, int]]:
    command = [*timelapse, "routing.demo", "--parent", str(os.getpid())]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        ports = json.loads(process.stdout.readline())
        yield {name: ports[backend] for name, backend in BACKENDS.items()}
    finally:
        process.terminate()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _document(ports: Mapping[str, int], port: int, with_webhooks: bool) -> dict[str, Any]:
    services = {
        name: {"preset": PRESETS[name], "targets": [{"url": f"http://127.0.0.1:{ports[name]}"}]} for name in BACKENDS
    }
    webhooks: dict[str, dict[str, Any]] = {
        name: {"preset": PRESETS[name], "service": name, "secret": "env:GATEWAY_SECRET_DAY"}
        for name in BACKENDS
        if name != "gmail"
    }
    webhooks["gmail"] = {
        "preset": "gmail",
        "service": "gmail",
        "audience": f"http://127.0.0.1:{port}/hooks/gmail",
        "email": PUSH_EMAIL,
        "keys_url": f"http://127.0.0.1:{ports['gmail']}/oauth2/v1/certs",
    }
    return {"version": 1, "services": services, **({"webhooks": webhooks} if with_webhooks else {})}


def _variables(directory: Path, file: Path, port: int) -> dict[str, str]:
    return {
        "SECRET_KEY": "for benchmarks alone, and long enough for Django's own checks",
        "DRAIN_SECONDS": "0",
        "DATABASE_URL": f"sqlite:///{directory}/gateway.sqlite3",
        "GATEWAY_CONFIG": str(file),
        "GATEWAY_SECRET_DAY": SIGNING_KEY,
        "PORT": str(port),
        "ACCESS_LOG": "off",
        "RATE_LIMIT": UNLIMITED,
    }


def _keys(variables: Mapping[str, str]) -> list[str]:
    """An API key for each person."""
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", KEYS % len(day.PEOPLE)],
        cwd=ROOT,
        env={"PATH": os.environ.get("PATH", os.defpath), **variables},
        check=True,
        capture_output=True,
        text=True,
    )
    time.sleep(1.5)  # until the gateway knows them
    keys: list[str] = json.loads(done.stdout.splitlines()[-1])
    return keys
