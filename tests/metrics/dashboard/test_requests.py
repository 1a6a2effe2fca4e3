"""The pages of the request log and their live feed: what they show, and to whom."""

import asyncio
import re
from html import unescape
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client

from metrics.dashboard import request_feed, requests, staff
from metrics.dashboard.request_feed import RequestsConsumer
from metrics.request_log import search
from metrics.request_log.record import RecordKind, RequestRecord
from metrics.requests import as_curl, explain_query, trace_url
from routing.rights import Grant
from routing.router.request_log_policy import RequestLogPolicy
from tests.metrics.harness import SHARED, Harness
from tests.websocket import Socket

pytestmark = pytest.mark.django_db(transaction=True)

BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
NO_SAMPLE = msgspec.structs.replace(SHARED, request_log=RequestLogPolicy(sample=0))
HEADERS = [(b"host", b"gateway.test"), (b"origin", b"http://gateway.test")]
STAFF = User(username="ada", is_staff=True, is_superuser=True)
RECORD = RequestRecord(at=1.0, id="r", kind=RecordKind.FAILED, method="GET", host="gateway.test", path="/api/v1/crm/x")


@pytest.fixture
def served(harness: Harness) -> Harness:
    harness.serve(BROKEN, BROKEN, name="broken", policy=NO_SAMPLE)
    harness.request("/api/v1/broken/<script>alert(1)</script>?q=1")
    return harness


def text(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status, response.content
    return unescape(response.content.decode())


def test_the_list_shows_and_links_what_matches(served: Harness, staff_client: Client) -> None:
    raw = staff_client.get("/dashboard/requests/?service=broken").content.decode()
    assert "500 Failed" in raw
    assert "<script>alert" not in raw
    assert "No requests found" in text(staff_client, "/dashboard/requests/?service=other&status=2xx")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("id=&service=broken&status=5xx&kind=failed&start=&end=", 1),
        ("start=2020-01-01T03:00&end=2999-01-01T05:00:00", 1),
        ("start=2020-01-01T03:00&end=2021-01-01T05:00:00", 0),
        ("status=abc&kind=bogus&key=gw_abcdefgh&other=1", 0),
        ("service=broken&service=other", 0),
        ("status=%205XX%0A", 1),
        ("start=0001-01-01T00:00&end=9999-12-31T23:59:59.999999", 1),
    ],
)
def test_the_same_search_is_there_as_json(served: Harness, staff_client: Client, query: str, expected: int) -> None:
    link = re.search(
        r'href="(/metrics/requests[^"]*)"', staff_client.get(f"/dashboard/requests/?{query}").content.decode()
    )
    assert link is not None
    response = staff_client.get(unescape(link[1]))
    assert response.status_code == 200, response.content
    assert len(response.json()["requests"]) == expected


def test_a_search_that_has_not_read_all_says_so(
    served: Harness, staff_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        Client().get(f"/api/v1/broken/{number}", headers={"X-API-Key": served.keys["every"]})
    monkeypatch.setattr(search, "PAGE", 2)
    monkeypatch.setattr(search, "MAX_SCANNED", 2)
    monkeypatch.setattr(requests, "MAX_SCANNED", 2)
    page = text(staff_client, "/dashboard/requests/?service=other")
    assert "2 records were searched. Go on with earlier requests." in page
    assert "No requests found so far" in page


def test_a_page_shows_one_request_and_others_with_its_id(served: Harness, staff_client: Client) -> None:
    for path in ("/api/v1/broken/one", "/api/v1/broken/two"):
        Client().get(path, headers={"X-API-Key": served.keys["every"], "X-Request-ID": "same"})
    page = text(staff_client, "/dashboard/requests/same/")
    assert "GET /api/v1/broken/two" in page
    assert "Other requests with this id" in page
    found = staff_client.get("/dashboard/requests/?id=same")
    assert found.status_code == 302
    assert found["Location"].startswith("/dashboard/requests/same/?at=")
    assert "No request with this id is recorded" in text(staff_client, "/dashboard/requests/nothing/", 404)


def test_wrong_parameters_are_left_out(served: Harness, staff_client: Client) -> None:
    page = text(staff_client, "/dashboard/requests/?status=abc&start=yesterday&kind=x&before=1&service=broken")
    assert "A status is 404, or a class such as 5xx." in page
    assert "500 Failed" in page
    page = text(staff_client, "/dashboard/requests/?start=2026-12-01T00:00&end=2026-11-30T00:00")
    assert "The start must not be after the end." in page


def test_a_command_is_safe_to_paste() -> None:
    record = msgspec.structs.replace(RECORD, path="/a'; rm -rf $HOME #", caller="key:abcdefgh", method="DELETE")
    assert as_curl(record) == (
        "curl -i -g -X DELETE -H \"X-API-Key: $API_KEY\" 'http://gateway.test/a'\"'\"'; rm -rf $HOME #'"
    )


def test_links_lead_to_the_explanation_and_the_trace() -> None:
    record = msgspec.structs.replace(RECORD, query="page=***", caller="key:a", trace="ab" * 16)
    assert explain_query(record) == (
        "method=GET&path=%2Fapi%2Fv1%2Fcrm%2Fx%3Fpage%3D%2A%2A%2A&caller=key%3Aa&headers=Host%3A+gateway.test"
    )
    assert trace_url("https://traces.test/trace/{trace_id}", record) == f"https://traces.test/trace/{'ab' * 16}"
    assert trace_url("https://traces.test/trace/{trace_id}", RECORD) == ""


def socket(query: bytes = b"", user: Any = STAFF, headers: list[tuple[bytes, bytes]] = HEADERS) -> Socket:
    return Socket(RequestsConsumer.as_asgi(), "/ws/dashboard/requests/", headers, user=user, query_string=query)


async def test_the_feed_sends_what_matches_and_is_new(served: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_feed, "INTERVAL_SECONDS", 0.02)
    feed = socket(b"status=404")
    assert await feed.connect() is None
    assert await feed.receive_json() == {"requests": [], "isShared": True, "more": False}
    for path in ("/api/v1/broken/x", "/api/v1/nothing/new"):
        await asyncio.to_thread(served.request, path)
    rows: list[Any] = []
    while not rows:
        rows = (await feed.receive_json())["requests"]
    assert [row["target"] for row in rows] == ["/api/v1/nothing/new"]
    assert (await feed.receive_json())["requests"] == []
    await feed.disconnect()
    assert rows[0]["why"] == "Client error"
    german = socket(b"status=404&language=de&after=0-0")
    assert await german.connect() is None
    assert [row["why"] for row in (await german.receive_json())["requests"]] == ["Client-Fehler"]
    await german.disconnect()
    again = socket(f"status=404&after={rows[0]['position']}".encode())  # as after a lost connection
    assert await again.connect() is None
    assert (await again.receive_json())["requests"] == []
    await again.disconnect()


async def test_the_feed_has_requests_to_the_services_that_one_may_view(
    served: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_feed, "INTERVAL_SECONDS", 0.02)
    user = SimpleNamespace(is_active=True, is_staff=True, has_perm=lambda _: False)
    user._service_grants = (Grant("Viewer", frozenset({"broken"}), {}),)
    feed = socket(b"after=0-0&service=", user)
    assert await feed.connect() is None
    await feed.receive_json()
    for path in ("/api/v1/nothing/new", "/api/v1/broken/mine"):
        await asyncio.to_thread(served.request, path)
    rows: list[Any] = []
    while not any(row["target"] == "/api/v1/broken/mine" for row in rows):
        rows += (await feed.receive_json())["requests"]
    assert {row["service"] for row in rows} == {"broken"}
    await feed.disconnect()


@pytest.mark.parametrize("user", [None, AnonymousUser(), User(username="eve")])
async def test_the_feed_refuses_others(harness: Harness, user: Any) -> None:
    assert await socket(user=user).connect() == staff.CLOSE_FORBIDDEN
    assert await socket(headers=[HEADERS[0], (b"origin", b"http://evil.test")]).connect() == staff.CLOSE_FORBIDDEN


async def test_the_feed_ends_with_its_session(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(_scope: Any) -> Any:
        return AnonymousUser()

    monkeypatch.setattr(request_feed, "get_user", nobody)
    monkeypatch.setattr(request_feed, "RECHECK_SECONDS", 0)
    feed = socket()
    assert await feed.connect() is None
    assert await feed.receive() == {"type": "websocket.close", "code": staff.CLOSE_SESSION_ENDED}
