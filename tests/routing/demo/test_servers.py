import pytest
import requests

from routing.demo.servers import BACKENDS
from tests.routing.demo.conftest import Call


@pytest.mark.parametrize("service", BACKENDS)
def test_each_backend_is_healthy_and_sets_the_server_field(call: Call, service: str) -> None:
    response = call(service, "/health")
    assert response.json()["status"] == "ok"
    assert response.headers["Server"] == response.json()["service"]


@pytest.mark.parametrize("service", BACKENDS)
def test_errors_are_json_and_a_405_lists_the_allowed_methods(call: Call, service: str) -> None:
    missing, wrong = call(service, "/no/such/thing"), call(service, "/health", "DELETE")
    assert (missing.status_code, missing.json()) == (404, {"error": "Not Found"})
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET,HEAD")


@pytest.mark.parametrize(
    ("service", "path"),
    [("calendarIntelligence", "/events"), ("crm", "/contacts"), ("aiRouting", "/models"), ("aiRouting", "/stream")],
)
def test_head_returns_the_fields_of_get_without_a_body(call: Call, service: str, path: str) -> None:
    head, get = call(service, path, "HEAD"), call(service, path)
    assert head.content == b""
    assert (head.status_code, head.headers["Content-Type"]) == (200, get.headers["Content-Type"])
    assert head.headers.get("Content-Length") == get.headers.get("Content-Length")


def test_a_connection_serves_more_than_one_request(call: Call, client: requests.Session) -> None:
    for _ in range(3):
        assert "close" not in call("crm", "/contacts").headers.get("Connection", "").lower()


def test_a_very_long_header_is_rejected(call: Call) -> None:
    assert call("crm", "/contacts", headers={"X-Long": "x" * 100_000}).status_code in (400, 431)


def test_a_new_channel_is_listed(call: Call) -> None:
    added = call("slackIntelligence", "/channels", "POST", json={"name": "launch-2026"})
    assert added.status_code == 201
    assert "launch-2026" in [channel["name"] for channel in call("slackIntelligence", "/channels").json()["channels"]]


def test_channel_names_are_unique(call: Call) -> None:
    assert call("slackIntelligence", "/channels", "POST", json={"name": "incidents"}).status_code == 409


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{}", b'{"name": "Not Allowed"}', b'{"name": 7}'])
def test_a_channel_without_a_valid_name_is_rejected(call: Call, body: bytes) -> None:
    assert call("slackIntelligence", "/channels", "POST", data=body).status_code == 400


def test_each_channel_has_its_own_messages(call: Call) -> None:
    messages = call("slackIntelligence", "/channels/C08410377/messages").json()["messages"]
    assert "INC-2041" in messages[0]["text"]
    assert call("slackIntelligence", "/channels/C0/messages").status_code == 404


def test_two_callers_see_different_mail(call: Call) -> None:
    path = "/mailboxes/me/messages"
    here, there = (
        call("gmailIntelligence", path, headers={"X-Gateway-Caller": caller}).json() for caller in ("key:a1", "key:b2")
    )
    assert (here["caller"], there["caller"]) == ("key:a1", "key:b2")
    assert here["messages"] != there["messages"]


def test_the_calendar_has_a_max_age_and_can_be_revalidated(call: Call) -> None:
    first = call("calendarIntelligence", "/events")
    again = call("calendarIntelligence", "/events", headers={"If-None-Match": first.headers["ETag"]})
    assert first.headers["Cache-Control"] == "max-age=60"
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])


def test_a_contact_is_found_by_its_id(call: Call) -> None:
    first = call("crm", "/contacts").json()["contacts"][0]
    assert call("crm", f"/contacts/{first['id']}").json() == first
    assert call("crm", "/contacts/con_0").status_code == 404


@pytest.mark.parametrize("code", [200, 204, 304, 404, 500, 503])
def test_a_status_can_be_requested_by_its_number(call: Call, code: int) -> None:
    assert call("crm", f"/status/{code}").status_code == code


def test_the_crm_fails_in_failing_mode_only(call: Call) -> None:
    call("crm", "/mode/failing", "POST")
    assert [call("crm", path).status_code for path in ("/contacts", "/status/200", "/health")] == [500, 500, 200]
    call("crm", "/mode/healthy", "POST")
    assert call("crm", "/contacts").status_code == 200


def test_a_prompt_is_completed_and_an_empty_one_rejected(call: Call) -> None:
    response = call("aiRouting", "/complete", "POST", json={"prompt": "Which renewals are due?"})
    assert response.json()["usage"]["prompt_tokens"] == 4
    assert call("aiRouting", "/complete", "POST", json={"prompt": " "}).status_code == 400


def test_a_stream_arrives_in_pieces(call: Call) -> None:
    response = call("aiRouting", "/stream", stream=True)
    events = [line for line in response.iter_lines() if line]
    assert response.headers["Content-Type"] == "text/event-stream"
    assert (events[0], events[-1]) == (b'data: {"delta": "Three "}', b"data: [DONE]")
