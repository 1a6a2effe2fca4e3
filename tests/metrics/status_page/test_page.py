"""The status page: who is listed, what is not shown, and what a flood costs."""

import asyncio
import gzip
import threading
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway_project import asgi
from metrics import services
from metrics.models import Aggregate, CircuitChange
from metrics.status_page.page import FRESH_SECONDS, RETRY_SECONDS, StatusPage
from metrics.status_page.rendering import StatusRenderer
from metrics.status_page.report import Reporter
from metrics.status_page.states import ServiceState
from resilience.breaker.machine import State
from resilience.durations import DAY
from routing.configuration.decode import decode
from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError
from routing.http import Request, Response
from routing.router.hosts import AllowedHosts
from routing.router.policy import Target
from routing.router.table import RouteTable, Service
from tests.clock import FakeClock
from tests.metrics.harness import Harness

# Every test may use the database: the thread in which the page is made looks at its connection, if one is left there.
pytestmark = pytest.mark.django_db

SECRETS = ("crm-internal", "payroll", "10.0.0.7", "5 failures", "db.internal")


def service(name: str, label: str, url: str = "http://10.0.0.7:8080") -> Service:
    return Service(name, (Target(url),), public_label=label)


def request(**fields: str) -> Request:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return Request("GET", b"/status/", b"", headers, "192.0.2.1")


class TestReport:
    def test_only_listed_services_are_shown_by_their_labels(self, harness: Harness) -> None:
        harness.add(service("crm-internal", "Customer <data>"))
        harness.add(service("payroll", "", "http://db.internal"))
        now = datetime.fromtimestamp(harness.clock(), UTC)
        for minutes, before, after in ((50, "CLOSED", "OPEN"), (20, "OPEN", "CLOSED")):
            for name in ("crm-internal", "payroll"):
                at = now - timedelta(minutes=minutes)
                CircuitChange.objects.create(
                    at=at, service=name, before=before, after=after, reason="5 failures at 10.0.0.7"
                )
        page = StatusRenderer()()["en"].decode()
        assert [word for word in SECRETS if word in page] == []
        assert "Customer &lt;data&gt;" in page
        assert page.count('<section class="card status-service"') == 1
        assert "for 30\xa0minutes" in page
        assert page.count("<script") == 1  # the page's own

    def test_days_are_shares_without_numbers_of_requests(self, harness: Harness) -> None:
        harness.add(service("crm", "CRM"))
        today = int(harness.clock() // DAY) * DAY
        for days, errors in ((1, 0), (2, 30), (89, 1), (90, 999)):
            counts = {"requests|GET|2xx|": 1_000 - errors, "requests|GET|5xx|": errors}
            Aggregate.objects.create(resolution="day", start=today - days * DAY, service="crm", counts=counts)
        (crm,) = Reporter().read().services
        assert len(crm.days) == 90
        assert crm.share == 98.96
        assert [(day.start, day.level) for day in crm.troubled] == [(today - 2 * DAY, "fair")]
        page = StatusRenderer()()["en"].decode()
        assert "98.96 % of requests succeeded" in page
        assert "1000" not in page
        assert "1,000" not in page

    def test_todays_requests_and_the_circuit_count_at_once(self, harness: Harness) -> None:
        harness.add(service("crm", "CRM", "http://127.0.0.1:9"))
        reporter = Reporter()
        assert reporter.read().state is ServiceState.OPERATIONAL
        assert harness.request("/api/v1/crm/x") == 502
        assert reporter.read().services[0].share == 0
        services.override_circuit("staff:ada", "crm", State.FORCED_OPEN, 60, "a test")
        assert reporter.read().services[0].state is ServiceState.DOWN

    def test_german(self, harness: Harness) -> None:
        harness.add(service("crm", "CRM"))
        assert b'<html lang="de">' in StatusRenderer()()["de"]


class Renders:
    """Counts how often the page is made; waits for `go` if it is cleared."""

    def __init__(self) -> None:
        self.number = 0
        self.fails = False
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> Mapping[str, bytes]:
        self.go.wait(30)
        self.number += 1
        if self.fails:
            raise RuntimeError("a test")
        return {"en": b"page %d" % self.number, "de": b"Seite %d" % self.number}


async def body(page: StatusPage, asked: Request) -> tuple[int, bytes]:
    answer = page.answer(asked)
    response = answer if isinstance(answer, Response) else await answer
    assert isinstance(response.body, bytes)
    return response.status, response.body


async def test_a_flood_makes_the_page_once() -> None:
    renders, clock = Renders(), FakeClock(0)
    page = StatusPage(renders, clock)
    found = await asyncio.gather(*(body(page, request()) for _ in range(500)))
    assert set(found) == {(200, b"page 1")}
    clock.advance(FRESH_SECONDS - 1)
    assert isinstance(page.answer(request()), Response)  # at once, without a thread
    clock.advance(1)
    assert await body(page, request()) == (200, b"page 2")


async def test_the_last_page_is_sent_while_none_can_be_made() -> None:
    renders, clock = Renders(), FakeClock(0)
    page = StatusPage(renders, clock)
    renders.fails = True
    assert (await body(page, request()))[0] == 503
    await body(page, request())
    assert renders.number == 1  # it is tried again after a while
    renders.fails = False
    clock.advance(RETRY_SECONDS)
    assert await body(page, request()) == (200, b"page 2")
    renders.fails = True
    clock.advance(FRESH_SECONDS)
    assert await body(page, request()) == (200, b"page 2")


async def test_languages_and_compression() -> None:
    page = StatusPage(Renders(), FakeClock(0))
    assert await body(page, request(accept_language="de-AT, en;q=0.5")) == (200, b"Seite 1")
    assert await body(page, request(accept_language="fr, *;q=0.1")) == (200, b"page 1")
    assert await body(page, request(accept_language="\xff" * 300)) == (200, b"page 1")
    _, compressed = await body(page, request(accept_encoding="br, gzip"))
    assert gzip.decompress(compressed) == b"page 1"


def decoded(value: str) -> Service:
    text = f'version: 1\nservices:\n  crm:\n    targets: [{{url: "http://crm.test"}}]\n    status_page: {value}\n'
    (found,) = decode(parse(text).structure, lambda _: "")
    assert f"status_page: {value}" in dump(parse(text).structure) or value == "false"
    return found


def test_a_service_is_listed_if_it_says_so() -> None:
    assert [decoded(value).public_label for value in ("true", "false", "Customer data")] == ["crm", "", "Customer data"]


@pytest.mark.parametrize("value", ["1", '""', '" "', f'"{"x" * 81}"', '"a\\tb"', "[a]"])
def test_other_values_are_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a text of 1 to 80 printable characters"):
        decoded(value)


def test_it_is_served_before_django_on_the_gateways_hosts(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(method: str, host: str) -> Any:
        asked = Request(method, b"/status/", b"", [(b"host", host.encode())], "192.0.2.1")

        async def handle() -> Any:
            found = asgi.handle_request(asked)
            return await found if isinstance(found, Awaitable) else found

        return harness.run(handle())

    assert answer("GET", "localhost") is None  # off: Django's, which has no such page
    monkeypatch.setattr(asgi, "_status", StatusPage(Renders(), FakeClock(0)))
    monkeypatch.setattr(asgi, "READ_ONLY", {b"/status"})
    monkeypatch.setattr(harness.gateway, "allowed_hosts", AllowedHosts(["localhost"]))
    harness.live.table = RouteTable([service("crm", "CRM")])
    response = answer("GET", "localhost")
    assert (response.status, response.body) == (200, b"page 1")
    assert dict(response.headers)[b"cache-control"] == b"public, max-age=15"
    assert (answer("HEAD", "localhost").status, answer("HEAD", "localhost").body) == (200, b"")
    assert answer("POST", "localhost").status == 405
    assert answer("GET", "evil.test") is None
