"""The demonstration's Slack Web API."""

import json
from collections.abc import Callable

import pytest
from slack_sdk.signature import SignatureVerifier

from tests.routing.demo.conftest import Call
from tests.routing.demo.receiver import Receiver

Settings = Callable[..., None]
SLACK = "slackIntelligence"
INCIDENTS = "C08410377"


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings(SLACK)


@pytest.mark.parametrize("path", ["/api/conversations.list", "/conversations.list"])
@pytest.mark.parametrize("form", [{}, {"data": {"limit": 2}}, {"json": {"limit": 2}}, {"params": {"limit": 2}}])
def test_a_method_is_called_by_get_or_post_with_a_query_a_form_or_json(
    call: Call, path: str, form: dict[str, object]
) -> None:
    body = call(SLACK, path, "GET" if "params" in form else "POST", **form).json()
    assert body["ok"] is True
    assert (len(body["channels"]) == 2) == bool(form)


def test_responses_forbid_caching_as_slacks_do(call: Call) -> None:
    headers = call(SLACK, "/api/users.list").headers
    assert headers["Cache-Control"] == "private, no-cache, no-store, must-revalidate"
    assert (headers["Expires"], headers["Pragma"]) == ("Mon, 26 Jul 1997 05:00:00 GMT", "no-cache")


def test_cursors_lead_through_all_pages(call: Call) -> None:
    cursor, names = "", []
    for _ in range(30):
        body = call(SLACK, "/api/users.list", "POST", data={"limit": 3, "cursor": cursor}).json()
        names += [user["name"] for user in body["members"]]
        cursor = body["response_metadata"]["next_cursor"]
        if not cursor:
            break
    assert len(names) == len(set(names)) == 20


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("conversations.info", {"channel": "C0"}, "channel_not_found"),
        ("users.info", {"user": "U0"}, "user_not_found"),
        ("conversations.replies", {"channel": INCIDENTS, "ts": "1.1"}, "thread_not_found"),
        ("chat.postMessage", {"channel": INCIDENTS}, "no_text"),
        ("conversations.list", {"cursor": "%"}, "invalid_cursor"),
        ("conversations.list", {"limit": "0"}, "invalid_limit"),
        ("no.such", {}, "unknown_method"),
    ],
)
def test_errors_are_successes_of_http(call: Call, method: str, arguments: dict[str, str], error: str) -> None:
    response = call(SLACK, f"/api/{method}", "POST", data=arguments)
    assert (response.status_code, response.json()["ok"], response.json()["error"]) == (200, False, error)


@pytest.mark.parametrize(
    ("token", "error"), [(None, "not_authed"), ("xoxb-1", "invalid_auth"), ("xoxb-expired", "token_expired")]
)
def test_only_the_token_that_is_set_is_accepted(call: Call, settings: Settings, token: str | None, error: str) -> None:
    settings(SLACK, token="xoxb-right")
    given = {"Authorization": f"Bearer {token}"} if token else {}
    assert call(SLACK, "/api/auth.test", headers=given).json()["error"] == error
    assert call(SLACK, "/api/auth.test", headers={"Authorization": "Bearer xoxb-right"}).json()["ok"]
    assert call(SLACK, "/api/auth.test", "POST", data={"token": "xoxb-right"}).json()["ok"]


def test_each_method_has_a_limit_of_its_own_and_tells_when_it_ends(call: Call) -> None:
    statuses = [call(SLACK, "/api/search.messages", params={"query": "x"}).status_code for _ in range(21)]
    refused = call(SLACK, "/api/search.messages", params={"query": "x"})
    assert statuses.count(200) <= 20
    assert (refused.status_code, refused.json()) == (429, {"ok": False, "error": "ratelimited"})
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert call(SLACK, "/api/team.info").status_code == 200


def test_an_error_can_be_set_by_method(call: Call, settings: Settings) -> None:
    settings(SLACK, errors={"team.info": "internal_error"})
    assert call(SLACK, "/api/team.info").json() == {"ok": False, "error": "internal_error"}
    settings(SLACK, errors={"team.info": "ratelimited"})
    assert call(SLACK, "/api/team.info").status_code == 429


def test_a_message_is_in_the_next_history_and_reported_with_slacks_signature(
    call: Call, settings: Settings, receiver: Receiver
) -> None:
    settings(SLACK, webhook={"url": receiver.url, "secret": "a signing secret"}, limits=False)
    receiver.statuses.append(503)
    posted = call(SLACK, "/api/chat.postMessage", "POST", json={"channel": "#incidents", "text": "INC-2042 begins"})
    history = call(SLACK, "/api/conversations.history", "POST", data={"channel": INCIDENTS, "limit": "1"}).json()
    assert history["messages"][0]["ts"] == posted.json()["ts"]
    assert history["has_more"]
    first, again = receiver.next(), receiver.next()
    assert SignatureVerifier("a signing secret").is_valid_request(first.body, first.fields)
    assert SignatureVerifier("a signing secret").is_valid_request(again.body, again.fields)
    assert (first.body, again.fields["x-slack-retry-num"]) == (again.body, "1")
    event = json.loads(first.body)
    assert (event["type"], event["event"]["channel"]) == ("event_callback", INCIDENTS)
    assert event["event"]["text"] == "INC-2042 begins"


def test_replies_are_in_their_thread_and_not_in_the_history(call: Call, settings: Settings) -> None:
    settings(SLACK, limits=False)
    begun = call(SLACK, "/api/chat.postMessage", "POST", json={"channel": INCIDENTS, "text": "a thread"}).json()["ts"]
    reply = {"channel": INCIDENTS, "text": "a reply", "thread_ts": begun}
    call(SLACK, "/api/chat.postMessage", "POST", json=reply)
    replies = call(SLACK, "/api/conversations.replies", params={"channel": INCIDENTS, "ts": begun}).json()["messages"]
    newest = call(SLACK, "/api/conversations.history", params={"channel": INCIDENTS}).json()["messages"][0]
    assert [message["text"] for message in replies] == ["a thread", "a reply"]
    assert (newest["ts"], newest["reply_count"]) == (begun, 1)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"latency": "much"}', b'{"unknown": 1}', b'{"webhook": {"url": "http://192.0.2.1/"}}']
)
def test_settings_that_are_not_valid_are_refused(call: Call, body: bytes) -> None:
    before = call(SLACK, "/demo/settings").json()
    assert call(SLACK, "/demo/settings", "POST", data=body).status_code == 400
    assert call(SLACK, "/demo/settings").json() == before


def test_settings_cannot_be_reached_through_a_gateway(call: Call) -> None:
    assert call(SLACK, "/demo/settings", headers={"Via": "1.1 gateway"}).status_code == 404


def test_calls_are_counted_by_method(call: Call) -> None:
    before = call(SLACK, "/demo/calls").json()
    call(SLACK, "/api/emoji.list")
    after = call(SLACK, "/demo/calls").json()
    assert after["total"] == before["total"] + 1
    assert after["operations"]["emoji.list"] == before["operations"].get("emoji.list", 0) + 1
