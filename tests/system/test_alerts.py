"""Alerts as an operator sees them: three receivers, two workers over Redis, both of which are killed in turn."""

import json
import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.metrics.alerts.mail_server import MailServer
from tests.origin import Peer
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, ok
from tests.system.conftest import Seed, gateway
from tests.system.server import Server

KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
PATH = "/api/v1/flaky/alerted"
BROKEN = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
SECONDS = 60.0
ALERT = {
    "name": "flaky is down",
    "on": "circuit.open",
    "services": "flaky",
    "resolve_after": "0s",
}


class Receivers:
    """What Slack, a webhook and a mailbox have received: the first word of each change, in order."""

    def __init__(self, mails: MailServer) -> None:
        self.slack: list[str] = []
        self.webhook: list[str] = []
        self.ids: list[str] = []
        self._mails = mails

    @property
    def mail(self) -> list[str]:
        texts = [mail.get_content() for mail in self._mails.mails]
        return [line.partition(":")[0].lower() for text in texts for line in text.splitlines()]

    @property
    def all(self) -> list[list[str]]:
        return [self.slack, self.webhook, self.mail]

    async def take_slack(self, peer: Peer) -> None:
        text: str = json.loads(await peer.read_body())["text"]
        self.slack += [line.partition(":")[0].lower() for line in text.splitlines()[1:]]
        await peer.send(ok(b"ok"))

    async def take_webhook(self, peer: Peer) -> None:
        body = await peer.read_body()
        headers = {name.decode().lower(): value.decode() for name, value in dict(peer.request.fields).items()}
        found: Any = Webhook(KEY).verify(body, headers)
        self.webhook += [change["status"] for change in found["data"]["changes"]]
        self.ids.append(headers["webhook-id"])
        await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")


def break_down(server: Server, backend: Backend, key: str) -> None:
    backend.scripts["/alerted"] = BROKEN
    for _ in range(6):
        server.get(PATH, key)


def recover(server: Server, backend: Backend, key: str) -> None:
    backend.scripts["/alerted"] = ok()
    assert eventually(lambda: {server.get(PATH, key).status_code for _ in range(5)} == {200}, SECONDS)


def is_recorded(server: Server, key: str, number: int) -> bool:
    """Whether so many messages are on record as sent: a worker that is killed before that sends one again."""
    messages = server.get("/metrics/alerts", key).json()["messages"]
    return [message["state"] for message in messages] == ["sent"] * number


def kill(server: Server, pid: int) -> None:
    """Kill a worker, and let its lease end at once: otherwise the others wait for 15 seconds."""
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: len(server.workers) == 2 and pid not in server.workers, SECONDS)
    with closing(sqlite3.connect(server.database, timeout=30)) as database, database:
        database.execute("update metrics_alertwatch set claimed_until = 0")


def test_each_change_reaches_three_receivers_once_though_each_worker_is_killed(
    seed: Seed, backend: Backend, own_redis: RedisServer
) -> None:
    base = backend.targets[0]["url"]
    with MailServer() as mails:
        receivers = Receivers(mails)
        backend.scripts |= {"/slack": receivers.take_slack, "/webhook": receivers.take_webhook, "/alerted": ok()}
        environment = {
            "REDIS_URL": own_redis.url,
            "GATEWAY_SECRET_SLACK": f"{base}/slack",
            "GATEWAY_SECRET_ALERTS": KEY,
            "SMTP_URL": f"smtp://127.0.0.1:{mails.port}?starttls=off",
            "ALERT_FROM": "gateway@example.com",
        }
        with gateway(seed, backend, "--workers", "2", **environment) as server:
            to = ["slack:env:GATEWAY_SECRET_SLACK", f"webhook:{base}/webhook", "email:oncall@example.com"]
            document = {"version": 1, "services": {}, "alerts": [{**ALERT, "to": to}]}
            server.manage("config", "apply", "-", "--only", "alert flaky is down", stdin=json.dumps(document))
            first, second = server.workers
            break_down(server, backend, seed.ours)
            assert eventually(lambda: receivers.all == [["firing"]] * 3, SECONDS), receivers.all
            assert eventually(lambda: is_recorded(server, seed.reader, 3))
            kill(server, first)
            recover(server, backend, seed.ours)
            assert eventually(lambda: receivers.all == [["firing", "resolved"]] * 3, SECONDS), receivers.all
            assert eventually(lambda: is_recorded(server, seed.reader, 6))
            kill(server, second)
            break_down(server, backend, seed.ours)
            expected = ["firing", "resolved", "firing"]
            assert eventually(lambda: receivers.all == [expected] * 3, SECONDS), receivers.all
            sent = server.manage("alerts", "--test")
            assert sent.count(": sent") == 3
            assert eventually(lambda: receivers.all == [[*expected, "test"]] * 3)
            record = server.get("/metrics/alerts", seed.reader).json()
    assert Counter(message["state"] for message in record["messages"]) == {"sent": 12}
    assert Counter(message["tries"] for message in record["messages"]) == {1: 12}
    assert [each["service"] for each in record["firing"]] == ["flaky"]
    assert len(set(receivers.ids)) == 4
