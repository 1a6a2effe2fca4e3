"""The demonstration's Gmail and Calendar APIs, and their token endpoint."""

import json
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from email import message_from_bytes

import jwt
import pytest
import requests
from cryptography import x509

from tests.routing.demo.conftest import Call
from tests.routing.demo.receiver import Receiver

Settings = Callable[..., None]
GMAIL, CALENDAR = "gmailIntelligence", "calendarIntelligence"
ANN = "/gmail/v1/users/ann@company.example"
TEAM = "/calendar/v3/calendars/team@group.calendar.example"
REFRESH = {"grant_type": "refresh_token", "client_id": "c", "client_secret": "s", "refresh_token": "1//demo"}
SPAN = {"start": {"dateTime": "2026-12-04T09:00:00Z"}, "end": {"dateTime": "2026-12-04T10:00:00Z"}}
RAW = urlsafe_b64encode(b"From: a@b.example\r\nSubject: Hello\r\n\r\nText\r\n").decode().rstrip("=")


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings(GMAIL)
    settings(CALENDAR)


def test_mailboxes_have_messages_of_their_own_in_pages(call: Call) -> None:
    first = call(GMAIL, f"{ANN}/messages", params={"maxResults": "4"}).json()
    rest = call(GMAIL, f"{ANN}/messages", params={"maxResults": "4", "pageToken": first["nextPageToken"]}).json()
    ids = [message["id"] for message in (*first["messages"], *rest["messages"])]
    assert len(set(ids)) == len(ids) >= 6
    assert call(GMAIL, f"/gmail/v1/users/bo@company.example/messages/{ids[0]}").status_code == 404


def test_responses_of_gmail_are_private_and_vary(call: Call) -> None:
    response = call(GMAIL, f"{ANN}/labels")
    assert response.headers["Cache-Control"] == "private"
    assert response.headers["Vary"] == "Origin, X-Origin, Referer"


@pytest.mark.parametrize("form", ["minimal", "full", "raw", "metadata"])
def test_a_message_is_shown_in_each_format(call: Call, form: str) -> None:
    key = call(GMAIL, f"{ANN}/messages").json()["messages"][0]["id"]
    shown = call(GMAIL, f"{ANN}/messages/{key}", params={"format": form}).json()
    assert ("raw" in shown, "payload" in shown) == (form == "raw", form in ("full", "metadata"))


def test_what_is_sent_is_in_the_history_since_then(call: Call) -> None:
    start = call(GMAIL, f"{ANN}/profile").json()["historyId"]
    sent = call(GMAIL, f"{ANN}/messages/send", "POST", json={"raw": RAW}).json()
    history = call(GMAIL, f"{ANN}/history", params={"startHistoryId": start}).json()
    assert history["history"][0]["messagesAdded"][0]["message"]["id"] == sent["id"]
    assert int(history["historyId"]) > int(start)
    assert call(GMAIL, f"{ANN}/messages/{sent['id']}").json()["snippet"] == "Text"


def test_a_history_that_is_too_old_is_not_found(call: Call) -> None:
    error = call(GMAIL, f"{ANN}/history", params={"startHistoryId": "1"})
    assert (error.status_code, error.json()["error"]["errors"][0]["reason"]) == (404, "notFound")


def test_a_limit_of_gmail_is_a_403_with_googles_reason(call: Call, settings: Settings) -> None:
    settings(GMAIL, errors={"labels.list": "userRateLimitExceeded"})
    error = call(GMAIL, f"{ANN}/labels")
    assert (error.status_code, error.json()["error"]["errors"][0]["reason"]) == (403, "userRateLimitExceeded")
    assert "Retry-After" not in error.headers


def test_units_are_limited_by_user(call: Call, settings: Settings) -> None:
    headers = {"X-Gateway-Caller": "key:heavy"}
    statuses = [call(GMAIL, f"{ANN}/watch", "POST", json={}, headers=headers).status_code for _ in range(61)]
    assert statuses == [400] * 60 + [403]
    assert call(GMAIL, f"{ANN}/labels", headers={"X-Gateway-Caller": "key:other"}).status_code == 200


def test_a_watched_mailbox_is_reported_by_a_push_with_googles_kind_of_token(
    call: Call, settings: Settings, receiver: Receiver
) -> None:
    settings(GMAIL, webhook={"url": receiver.url})
    call(GMAIL, f"{ANN}/watch", "POST", json={"topicName": "projects/demo/topics/gmail"})
    arrived = call(GMAIL, "/demo/deliver/ann@company.example", "POST", json={"from": "x@y.example", "subject": "New"})
    push = receiver.next()
    certificates = call(GMAIL, "/oauth2/v1/certs").json()
    token = push.fields["authorization"].removeprefix("Bearer ")
    key = x509.load_pem_x509_certificate(certificates[jwt.get_unverified_header(token)["kid"]].encode()).public_key()
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=receiver.url)  # type: ignore[arg-type]
    assert claims["email_verified"]
    data = json.loads(b64decode(json.loads(push.body)["message"]["data"]))
    assert data == {"emailAddress": "ann@company.example", "historyId": int(arrived.json()["historyId"])}


def test_tokens_are_issued_and_expire(call: Call, settings: Settings) -> None:
    settings(GMAIL, token="ya29.static", token_seconds=1)
    issued = call(GMAIL, "/token", "POST", data=REFRESH).json()
    given = {"Authorization": f"Bearer {issued['access_token']}"}
    assert (issued["token_type"], issued["expires_in"]) == ("Bearer", 1)
    assert call(GMAIL, f"{ANN}/labels", headers=given).status_code == 200
    time.sleep(1.1)
    expired = call(GMAIL, f"{ANN}/labels", headers=given)
    assert (expired.status_code, expired.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert "invalid_token" in expired.headers["WWW-Authenticate"]
    assert call(GMAIL, f"{ANN}/labels").status_code == 401


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"refresh_token": "1//revoked"}, 400, "invalid_grant"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "x"}, 400, "invalid_grant"),
    ],
)
def test_a_grant_that_is_not_valid_is_refused(call: Call, changed: dict[str, str], status: int, error: str) -> None:
    refused = call(GMAIL, "/token", "POST", data=REFRESH | changed)
    assert (refused.status_code, refused.json()["error"]) == (status, error)


def test_an_assertion_of_a_service_account_is_a_grant(call: Call) -> None:
    claims = {
        "iss": "a@b.example",
        "aud": "https://oauth2.googleapis.com/token",
        "scope": "x",
        "exp": time.time() + 600,
    }
    assertion = jwt.encode(claims, "a key that is not verified, of some length", algorithm="HS256")
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    assert call(GMAIL, "/token", "POST", data=form).json()["access_token"].startswith("ya29.")


def test_events_have_an_etag_that_changes_with_them(call: Call) -> None:
    first = call(CALENDAR, f"{TEAM}/events")
    same = call(CALENDAR, f"{TEAM}/events", headers={"If-None-Match": first.headers["ETag"]})
    call(CALENDAR, f"{TEAM}/events", "POST", json={"summary": "Retrospective", **SPAN})
    changed = call(CALENDAR, f"{TEAM}/events", headers={"If-None-Match": first.headers["ETag"]})
    assert first.headers["Cache-Control"] == "no-cache, no-store, max-age=0, must-revalidate"
    assert (same.status_code, same.content) == (304, b"")
    assert changed.json()["items"][-1]["summary"] == "Retrospective"


def test_the_next_sync_token_is_on_the_last_page_and_leads_to_the_changes(call: Call) -> None:
    page = call(CALENDAR, f"{TEAM}/events", params={"maxResults": "2"}).json()
    assert ("nextPageToken" in page, "nextSyncToken" in page) == (True, False)
    while "nextPageToken" in page:
        query = {"maxResults": "2", "pageToken": page["nextPageToken"]}
        page = call(CALENDAR, f"{TEAM}/events", params=query).json()
    added = call(CALENDAR, f"{TEAM}/events", "POST", json={"summary": "Sync", **SPAN}).json()
    call(CALENDAR, f"{TEAM}/events/{added['id']}", "DELETE")
    changes = call(CALENDAR, f"{TEAM}/events", params={"syncToken": page["nextSyncToken"]}).json()["items"]
    assert [(change["id"], change["status"]) for change in changes] == [(added["id"], "cancelled")]


def test_a_sync_token_that_is_not_valid_is_gone(call: Call) -> None:
    error = call(CALENDAR, f"{TEAM}/events", params={"syncToken": "old"})
    assert (error.status_code, error.json()["error"]["errors"][0]["reason"]) == (410, "fullSyncRequired")


def test_a_channel_is_notified_until_it_is_stopped(call: Call, receiver: Receiver) -> None:
    wanted = {"id": "channel-1", "type": "web_hook", "address": receiver.url, "token": "secret"}
    channel = call(CALENDAR, f"{TEAM}/events/watch", "POST", json=wanted).json()
    sync = receiver.next()
    call(CALENDAR, f"{TEAM}/events/evt_3f1c", "PATCH", json={"location": "Room Eames"})
    exists = receiver.next()
    assert (sync.fields["x-goog-resource-state"], exists.fields["x-goog-resource-state"]) == ("sync", "exists")
    assert exists.fields["x-goog-channel-token"] == "secret"
    assert (exists.fields["x-goog-message-number"], exists.body) == ("2", b"")
    stopped = call(CALENDAR, "/calendar/v3/channels/stop", "POST", json=channel)
    assert stopped.status_code == 204
    assert call(CALENDAR, "/calendar/v3/channels/stop", "POST", json=channel).status_code == 404


def test_free_and_busy_times_are_read_by_post(call: Call) -> None:
    wanted = {"timeMin": "2026-11-30T00:00:00Z", "timeMax": "2026-12-01T00:00:00Z", "items": [{"id": "primary"}]}
    busy = call(CALENDAR, "/calendar/v3/freeBusy", "POST", json=wanted).json()["calendars"]["primary"]["busy"]
    assert [span["start"] for span in busy] == ["2026-11-30T09:00:00Z", "2026-11-30T13:00:00Z"]


def batch(*requests: str, newline: str = "\n", **fields: str) -> tuple[dict[str, str], bytes]:
    """Header fields and content of a batch of these requests, as Google's client for Python writes them."""
    parts = [
        f"Content-Type: application/http\nContent-ID: <base + {number}>\n\n{request}\n"
        for number, request in enumerate(requests)
    ]
    content = "".join(f"--b\n{part}" for part in parts) + "--b--\n"
    return {"Content-Type": 'multipart/mixed; boundary="b"', **fields}, content.replace("\n", newline).encode()


def parts_of(response: requests.Response) -> list[tuple[str, str, str]]:
    """Content-ID, status line and content of each part of a response to a batch."""
    header = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    found = []
    for part in message_from_bytes(header + response.content).get_payload():
        head, _, content = str(part.get_payload()).partition("\r\n\r\n")  # type: ignore[union-attr]
        found.append((str(part["Content-ID"]), head.splitlines()[0], content))  # type: ignore[index]
    return found


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_each_request_of_a_batch_has_its_own_response(call: Call, newline: str) -> None:
    key = call(GMAIL, f"{ANN}/messages").json()["messages"][0]["id"]
    modify = f"POST {ANN}/messages/{key}/modify HTTP/1.1\nContent-Type: application/json\n\n"
    headers, content = batch(
        f"GET {ANN}/profile HTTP/1.1\naccept: application/json\n",
        modify + '{"addLabelIds": ["STARRED"]}',
        f"GET {ANN}/messages/0 HTTP/1.1\n",
        "GET /demo/settings HTTP/1.1\n",
        newline=newline,
    )
    response = call(GMAIL, "/batch/gmail/v1", "POST", data=content, headers=headers)
    found = parts_of(response)
    assert [(content_id, line) for content_id, line, _ in found] == [
        ("<response-base + 0>", "HTTP/1.1 200 OK"),
        ("<response-base + 1>", "HTTP/1.1 200 OK"),
        ("<response-base + 2>", "HTTP/1.1 404 Not Found"),
        ("<response-base + 3>", "HTTP/1.1 404 Not Found"),
    ]
    assert "STARRED" in json.loads(found[1][2])["labelIds"]
    assert json.loads(found[0][2])["emailAddress"] == "ann@company.example"


def test_a_request_of_a_batch_has_the_batchs_token_unless_it_has_its_own(call: Call, settings: Settings) -> None:
    settings(CALENDAR, token="ya29.right")
    request = f"GET {TEAM}/events HTTP/1.1\n"
    headers, content = batch(request, request + "Authorization: Bearer ya29.other\n", Authorization="Bearer ya29.right")
    found = parts_of(call(CALENDAR, "/batch/calendar/v3", "POST", data=content, headers=headers))
    assert [line for _, line, _ in found] == ["HTTP/1.1 200 OK", "HTTP/1.1 401 Unauthorized"]


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        batch(*["GET /gmail/v1/users/me/profile HTTP/1.1\n"] * 101),
        batch("GET https://gmail.googleapis.com/gmail/v1/users/me/profile HTTP/1.1\n"),
        batch(),
        ({"Content-Type": "application/json"}, b"{}"),
        ({"Content-Type": "multipart/mixed"}, b""),
        ({}, b""),
    ],
)
def test_what_is_no_batch_is_refused(call: Call, headers: dict[str, str], content: bytes) -> None:
    response = call(GMAIL, "/batch", "POST", data=content, headers=headers)
    assert (response.status_code, response.json()["error"]["errors"][0]["reason"]) == (400, "badRequest")
