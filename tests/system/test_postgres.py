"""The gateway over PostgreSQL: migrations in a private cluster, requests, and the connections they take."""

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
import pytest
import requests

from tests.postgres_server import PostgresServer
from tests.processes import eventually
from tests.system.backend import Backend
from tests.system.conftest import services
from tests.system.server import Server, document

MAX_CONNECTIONS = 5
"""Fewer than the default, so that they run out."""
WAIT = """
import asyncio
from django.db import connection, transaction
from routing import runtime

connection.ensure_connection()
runtime.current().wait_for(asyncio.sleep(0))
print(connection.connection is None)
with transaction.atomic():
    runtime.current().wait_for(asyncio.sleep(0))
    print(connection.connection is None)
"""
SAVE_AT_ONCE = """
from threading import Barrier, Thread
from django.db.models import Sum
from metrics.models import DailyUsage
from metrics.usage.ledger import UsageLedger
from metrics.usage.record import UsageBatch, UsageCounts, UsageKey

barrier = Barrier(4)
rows = [(UsageKey("2020-01-01", f"consumer-{number}"), UsageCounts(1)) for number in range(20)]

def save(place):
    ledger = UsageLedger()
    for number in range(10):
        barrier.wait()
        own = UsageBatch(f"own-{place % 2}-{number}", 0.0, rows[::-1] if place % 2 else rows)
        ledger.save([own])

threads = [Thread(target=save, args=(place,)) for place in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
found = DailyUsage.objects.filter(day="2020-01-01")
print(found.count(), found.aggregate(Sum("requests"))["requests__sum"])
"""
"""Four threads save batches at the same time, each batch in two of them. Prints the rows and the sum."""


COUNT = """
from metrics.counting.aggregates import AggregateWriter, read_counts
from metrics.counting.counts import CountBatch
from metrics.models import TimeResolution

for number in (1, 2, 2):
    fields = {"60|counted|bytes": number, '60|counted|requests|GET|2xx|/%s/{"}': number}
    AggregateWriter().apply(CountBatch(f"counted-{number}", fields))
found = read_counts((), TimeResolution.MINUTE, 60, 120, "counted")[60, "counted"]
print(found["bytes"], found['requests|GET|2xx|/%s/{"}'])
"""
"""Adds two batches, one of them twice. Prints the sums."""

LOOKUPS = """
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from metrics.portal.keys import KEY_ORDER
from metrics.sign_in.logout_token import LogoutRequest
from metrics.sign_in.sessions import end_provider_sessions
from routing.models import ApiKey, Service, ServiceRole
from routing.rights import Right, services

people = {name: User.objects.create_user(f"{name}-of-lookups", is_staff=True) for name in ("eve", "bob")}
people["bob"].groups.add(Group.objects.create(name="team of lookups"))
eve, bob = (User.objects.get(pk=person.pk) for person in people.values())

def begin(user, **data):
    store = SessionStore()
    store.create()
    found = {"ip": "192.0.2.1", "user_agent": "x", "data": data}
    UserSession.objects.create(user=user, session_key=store.session_key, **found)

def left():
    return sorted(row.data.get("sid", "none") for row in UserSession.objects.filter(user__in=[eve, bob]))

mine = {"issuer": "https://id.example", "subject": "e\u00e9"}
for sid in ("a", "b", ""):
    begin(eve, **mine, sid=sid)
begin(eve)
begin(bob, issuer="https://id.example", subject="bob", sid="c")
begin(bob, issuer="https://other.example", subject="e\u00e9", sid="d")
for subject, sid in (("", "c"), ("e\u00e9", "a"), ("' OR 1=1", ""), ("e\u00e9", "")):
    end_provider_sessions(LogoutRequest(token_id="t", subject=subject, sid=sid), "https://id.example")
    print(left())

Service.objects.create(name="lookups-crm", labels={"team": "sales", "\u00e4": "\u20ac"})
ServiceRole.objects.create(user=eve, role="Operator", services=["plain"], labels={"team": "sales"})
ServiceRole.objects.create(group=bob.groups.get(), role="Viewer", labels={"\u00e4": "\u20ac"})
for user, right in ((eve, Right.VIEW), (eve, Right.OPERATE), (eve, Right.CONFIGURE), (bob, Right.VIEW)):
    print(sorted(services(user, right)))

for number, revoked in enumerate((None, timezone.now(), None)):
    name = f"lookups-{number}"
    ApiKey.objects.create(name=name, prefix=name, digest=name, revoked_at=revoked)
print([key.name for key in ApiKey.objects.filter(name__startswith="lookups-").order_by(*KEY_ORDER)])
"""
"""Looks for sessions by what the provider said of them, and for roles. Prints what is left, the services, and keys in
the order of the portal.
"""


@dataclass(frozen=True)
class Gateway:
    server: Server
    key: str
    database: str

    def connections(self) -> int:
        """How many connections the gateway has open. The server may not have ended an earlier observer's yet."""
        count = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND application_name <> 'observer'"
        )
        with psycopg.connect(self.database, application_name="observer") as observer:
            row = observer.execute(count).fetchone()
        assert row is not None
        return int(row[0])


def staff_session(server: Server) -> dict[str, str]:
    """Header fields of a member of staff. Cookies are sent by hand: they are for https only."""
    form = f"{server.address}/admin/login/?next=/admin/"
    token = requests.get(form, timeout=30).cookies["csrftoken"]
    fields = {"username": "ann", "password": "a long password", "csrfmiddlewaretoken": token}
    cookie = {"Cookie": f"csrftoken={token}"}
    session = requests.post(form, fields, headers=cookie, timeout=30, allow_redirects=False).cookies["sessionid"]
    return {"Cookie": f"sessionid={session}"}


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of an empty database on a server that is stopped after the test."""
    with contextlib.closing(PostgresServer()) as server:
        yield server.start().url


@pytest.fixture(scope="module")
def gateway(database: str, backend: Backend) -> Iterator[Gateway]:
    """One worker over the database, with a member of staff and a key."""
    events = {"METERING_URL": f"{backend.targets[0]['url']}/usage-events", "METERING_INTERVAL": "1"}
    events |= {"DATABASE_CONNECTIONS": str(MAX_CONNECTIONS)}
    server = Server(environment={"DATABASE_URL": database, "DJANGO_SUPERUSER_PASSWORD": "a long password", **events})
    try:
        with pytest.raises(AssertionError, match="unapplied migrations"):
            server.start()
        for command in ("config export", "apikey list", "createsuperuser --no-input --username ann"):
            with pytest.raises(AssertionError, match=r"run `manage\.py migrate` first") as refused:
                server.manage(*command.split())
            assert "Traceback" not in str(refused.value)
        server.manage("migrate", "--verbosity", "0")
        server.manage("createsuperuser", "--no-input", "--username", "ann", "--email", "")
        key = server.manage("apikey", "create", "ours", "--all-services").split()[-1]
        server.manage("config", "apply", "-", stdin=document(services(backend.targets)))
        yield Gateway(server.start(), key, database)
    finally:
        server.close()


def test_a_gateway_over_postgresql_requires_migrate_and_then_serves(gateway: Gateway) -> None:
    server = gateway.server
    assert server.get("/api/v1/plain/x", gateway.key).status_code == 200
    assert server.get("/health/deep").json()["checks"]["database"]["status"] == "ok"


def test_requests_to_django_pages_leave_no_connections_open(gateway: Gateway) -> None:
    session = staff_session(gateway.server)
    for _ in range(30):
        assert gateway.server.get("/admin/routing/service/", headers=session).status_code == 200
    # The server ends the connection of a command that has exited a moment later.
    assert eventually(lambda: gateway.connections() <= MAX_CONNECTIONS)


def test_a_burst_waits_for_a_connection_rather_than_failing(gateway: Gateway) -> None:
    session = staff_session(gateway.server)
    page = f"{gateway.server.address}/admin/routing/service/"
    with ThreadPoolExecutor(60) as clients:
        burst = [clients.submit(requests.get, page, headers=session, timeout=60) for _ in range(120)]
        most = max(gateway.connections() for _ in range(20))
        assert {response.result().status_code for response in burst} == {200}
    assert most <= MAX_CONNECTIONS


def test_a_thread_that_waits_for_the_gateway_gives_its_connection_back(gateway: Gateway) -> None:
    """What it waits for may need one."""
    assert gateway.server.manage("shell", "--no-imports", "-c", WAIT).split() == ["True", "False"]


def test_a_client_that_leaves_gives_its_connection_back(gateway: Gateway) -> None:
    session = staff_session(gateway.server)
    page = f"{gateway.server.address}/admin/routing/service/"
    for _ in range(2 * MAX_CONNECTIONS):
        with contextlib.suppress(requests.Timeout):
            requests.get(page, headers=session, timeout=0.005)
    assert gateway.server.get("/admin/routing/service/", headers=session).status_code == 200
    assert gateway.server.get("/health/deep").json()["checks"]["database"]["status"] == "ok"


def test_usage_is_counted_and_sent(gateway: Gateway, backend: Backend) -> None:
    server, session = gateway.server, staff_session(gateway.server)
    for _ in range(5):
        assert server.get("/api/v1/plain/used", gateway.key).status_code == 200
    rows = server.get("/metrics/usage?group_by=service&service=plain", headers=session).json()["usage"]
    assert rows[0]["requests"] >= 5
    assert eventually(lambda: backend.request_count("/usage-events") > 0)
    assert "failing" not in server.manage("usage", "events")


def test_batches_that_are_saved_at_once_are_added_once(gateway: Gateway) -> None:
    assert gateway.server.manage("shell", "--no-imports", "-c", SAVE_AT_ONCE).split() == ["20", "400"]


def test_counts_are_added_and_read(gateway: Gateway) -> None:
    assert gateway.server.manage("shell", "--no-imports", "-c", COUNT).split() == ["3", "3"]


def test_of_concurrent_changes_of_the_configuration_one_wins(gateway: Gateway) -> None:
    """Of two gateways, since Django's threads of one take turns. Whatever is refused has changed nothing."""
    server = gateway.server
    key = server.manage("apikey", "create", "deploy", "--scope", "config:read", "--scope", "config:write").split()[-1]
    with contextlib.closing(Server(environment={"DATABASE_URL": gateway.database})) as other:
        other.start()
        for round_number in range(3):
            assert eventually(lambda: {each.get("/api/config", key).status_code for each in (server, other)} == {200})
            file = server.get("/api/config", key)

            def change(number: int, file: requests.Response = file, of: int = round_number) -> tuple[int, str]:
                mine = json.loads(file.text)
                mine["services"]["plain"]["rate_limit"] = f"{8 * of + number + 1}/s"
                fields = {"Content-Type": "application/json", "If-Match": file.headers["ETag"]}
                gateways = (server, other)
                response = gateways[number % 2].request(
                    "PUT", "/api/config", key, data=json.dumps(mine), headers=fields
                )
                return response.status_code, mine["services"]["plain"]["rate_limit"]

            with ThreadPoolExecutor(8) as clients:
                found = list(clients.map(change, range(8)))
            assert sorted(status for status, _ in found) == [200, *[412] * 7]
            (winner,) = [rate for status, rate in found if status == 200]
            for each in (server, other):
                assert each.get("/api/config/services/plain", key).json()["rate_limit"] == winner


def test_the_gateway_stops(gateway: Gateway) -> None:
    gateway.server.terminate()
    assert gateway.server.wait() == 0
    assert eventually(lambda: gateway.connections() == 0)


def test_sessions_and_roles_are_found_by_their_json(gateway: Gateway) -> None:
    settings = {"DATABASE_URL": gateway.database, "STAFF_SECOND_FACTOR": "optional"}
    with contextlib.closing(Server(environment=settings)) as commands:
        commands.manage("migrate", "--verbosity", "0")
        printed = commands.manage("shell", "--no-imports", "-c", LOOKUPS).splitlines()
    assert printed == [
        "['', 'a', 'b', 'd', 'none']",
        "['b', 'd', 'none']",
        "['b', 'd', 'none']",
        "['d', 'none']",
        "['lookups-crm', 'plain']",
        "['lookups-crm', 'plain']",
        "[]",
        "['lookups-crm']",
        "['lookups-2', 'lookups-0', 'lookups-1']",
    ]
