"""google-api-python-client for Gmail and Calendar, with only the endpoint and the token changed."""

import json
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import closing
from email.message import EmailMessage
from io import BytesIO
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.oauth2.credentials import Credentials
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build, build_from_document
from googleapiclient.discovery_cache import get_static_doc
from googleapiclient.errors import HttpError
from googleapiclient.http import BatchHttpRequest, MediaIoBaseUpload

from tests.sdk.conftest import Gateway

ANN = "ann@company.example"
TEAM = "team@group.calendar.example"
SPAN = {"start": {"dateTime": "2026-12-04T09:00:00Z"}, "end": {"dateTime": "2026-12-04T10:00:00Z"}}


def client(gateway: Gateway, api: str, version: str, path: str) -> Any:
    return build(
        api,
        version,
        credentials=Credentials(gateway.key),  # type: ignore[no-untyped-call]
        client_options={"api_endpoint": gateway.base(path)},
        static_discovery=True,
    )


@pytest.fixture
def gmail(gateway: Gateway) -> Any:
    with client(gateway, "gmail", "v1", "gmail/") as service:
        yield service.users()


@pytest.fixture
def uploads(gateway: Gateway) -> Any:
    """Gmail with the gateway's address in its document: uploads ignore `api_endpoint`."""
    document = json.loads(get_static_doc("gmail", "v1"))
    document["rootUrl"] = gateway.base("gmail/")
    with build_from_document(document, credentials=Credentials(gateway.key)) as service:  # type: ignore[no-untyped-call]
        yield service.users()


@pytest.fixture
def calendar(gateway: Gateway) -> Any:
    with client(gateway, "calendar", "v3", "calendar/calendar/v3/") as service:
        yield service


def mail(subject: str) -> dict[str, str]:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = ANN, "bo@company.example", subject
    message.set_content("The text.")
    return {"raw": urlsafe_b64encode(message.as_bytes()).decode()}


def test_messages_are_listed_in_pages_and_read(gmail: Any) -> None:
    request, found = gmail.messages().list(userId=ANN, maxResults=2), []
    while request is not None:
        response = request.execute()
        found += response.get("messages", [])
        request = gmail.messages().list_next(request, response)
    assert len(found) >= 6
    message = gmail.messages().get(userId=ANN, id=found[0]["id"], format="full").execute()
    assert {header["name"] for header in message["payload"]["headers"]} >= {"From", "Subject"}


def test_a_message_that_is_sent_is_in_the_next_list_and_in_the_history(gmail: Any) -> None:
    before = gmail.messages().list(userId=ANN).execute()
    start = gmail.getProfile(userId=ANN).execute()["historyId"]
    sent = gmail.messages().send(userId=ANN, body=mail(f"Hello {uuid.uuid4()}")).execute()
    after = gmail.messages().list(userId=ANN).execute()
    history = gmail.history().list(userId=ANN, startHistoryId=start).execute()
    assert sent["id"] in {message["id"] for message in after["messages"]}
    assert len(after["messages"]) == len(before["messages"]) + 1
    assert history["history"][0]["messagesAdded"][0]["message"]["id"] == sent["id"]


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize("metadata", [None, {"threadId": "t1"}])
def test_a_message_with_an_attachment_is_uploaded(gmail: Any, uploads: Any, resumable: bool, metadata: Any) -> None:
    before = gmail.messages().list(userId=ANN).execute()
    raw = b"From: a@b.example\r\nSubject: Uploaded\r\n\r\n" + b"x" * (300 * 1_024)
    media = MediaIoBaseUpload(BytesIO(raw), mimetype="message/rfc822", chunksize=256 * 1_024, resumable=resumable)
    sent = uploads.messages().send(userId=ANN, body=metadata, media_body=media).execute()
    after = gmail.messages().list(userId=ANN).execute()
    assert {message["id"] for message in after["messages"]} == {sent["id"], *(one["id"] for one in before["messages"])}
    assert sent["threadId"] == ("t1" if metadata else sent["id"])
    shown = gmail.messages().get(userId=ANN, id=sent["id"], format="full").execute()
    assert shown["payload"]["body"]["size"] == 300 * 1_024


def test_an_upload_in_parts_tells_how_far_it_is(uploads: Any) -> None:
    raw = b"Subject: In parts\r\n\r\n" + b"x" * (700 * 1_024)
    media = MediaIoBaseUpload(BytesIO(raw), mimetype="message/rfc822", chunksize=256 * 1_024, resumable=True)
    request, response, progress = uploads.messages().send(userId=ANN, media_body=media), None, []
    while response is None:
        status, response = request.next_chunk()
        progress.append(status and status.resumable_progress)
    assert progress == [262_144, 524_288, None]
    assert response["labelIds"] == ["SENT"]


def test_labels_are_changed(gmail: Any) -> None:
    listed = gmail.messages().list(userId=ANN, q="invoice").execute()["messages"][-1]["id"]
    gmail.messages().modify(userId=ANN, id=listed, body={"addLabelIds": ["STARRED"]}).execute()
    assert "STARRED" in gmail.messages().get(userId=ANN, id=listed, format="minimal").execute()["labelIds"]
    assert "INBOX" in {label["id"] for label in gmail.labels().list(userId=ANN).execute()["labels"]}


def test_two_keys_have_mailboxes_of_their_own_as_me(gmail: Any) -> None:
    assert gmail.getProfile(userId="me").execute()["emailAddress"].startswith("key:")


def test_errors_reach_the_sdk_with_googles_reason(gmail: Any, gateway: Gateway) -> None:
    with pytest.raises(HttpError) as missing:
        gmail.messages().get(userId=ANN, id="0").execute()
    with pytest.raises(HttpError) as old:
        gmail.history().list(userId=ANN, startHistoryId="1").execute()
    assert (missing.value.status_code, old.value.status_code) == (404, 404)
    assert missing.value.error_details[0]["reason"] == "notFound"


def cached(request: Any) -> str:
    """X-Cache of the response."""
    seen: list[str] = []
    request.add_response_callback(lambda response: seen.append(response["x-cache"]))
    request.execute()
    return seen[0]


def test_after_a_history_that_is_too_old_nothing_of_the_mailbox_is_cached(gmail: Any) -> None:
    cached(gmail.labels().list(userId=ANN))
    assert cached(gmail.labels().list(userId=ANN)) == "HIT"
    with pytest.raises(HttpError):
        gmail.history().list(userId=ANN, startHistoryId="1").execute()
    assert cached(gmail.labels().list(userId=ANN)) == "MISS"


def test_after_a_bad_sync_token_nothing_of_the_calendar_is_cached(calendar: Any) -> None:
    cached(calendar.events().list(calendarId=TEAM))
    assert cached(calendar.events().list(calendarId=TEAM)) == "HIT"
    with pytest.raises(HttpError):
        calendar.events().list(calendarId=TEAM, syncToken="old").execute()
    assert cached(calendar.events().list(calendarId=TEAM)) != "HIT"


def test_a_watch_is_passed_on(gmail: Any) -> None:
    watch = gmail.watch(userId=ANN, body={"topicName": "projects/demo/topics/gmail"}).execute()
    assert int(watch["expiration"]) > 0


def batched(gateway: Gateway, service: str, api: str, version: str, make: Callable[[Any], dict[str, Any]]) -> Any:
    """The responses and errors of a batch through the gateway, by the names of its requests.

    The requests have Google's own paths and no credential: the batch has the key.
    """
    results: dict[str, Any] = {}

    def keep(name: str, response: Any, error: Any) -> None:
        results[name] = error or response

    batch = BatchHttpRequest(keep, batch_uri=f"{gateway.base(service)}/batch/{api}/{version}")
    anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
    authorized = AuthorizedHttp(Credentials(gateway.key))  # type: ignore[no-untyped-call]
    with build(api, version, credentials=anonymous, static_discovery=True) as paths, closing(authorized) as http:
        for name, request in make(paths).items():
            batch.add(request, request_id=name)
        batch.execute(http=http)
    return results


def test_a_batch_of_gmail_is_read_and_written_and_seen_by_the_next_read(gmail: Any, gateway: Gateway) -> None:
    key = gmail.messages().list(userId=ANN).execute()["messages"][1]["id"]
    read = gmail.messages().get(userId=ANN, id=key, format="minimal")
    cached(read)
    assert cached(read) == "HIT"

    def requests(api: Any) -> dict[str, Any]:
        messages = api.users().messages()
        return {
            "list": messages.list(userId=ANN, maxResults=1),
            "modify": messages.modify(userId=ANN, id=key, body={"addLabelIds": ["IMPORTANT"]}),
            "missing": messages.get(userId=ANN, id="0"),
        }

    results = batched(gateway, "gmail", "gmail", "v1", requests)
    assert len(results["list"]["messages"]) == 1
    assert "IMPORTANT" in results["modify"]["labelIds"]
    assert results["missing"].status_code == 404
    assert cached(read) == "MISS"
    assert "IMPORTANT" in read.execute()["labelIds"]


def test_a_batch_of_calendar_inserts_events(calendar: Any, gateway: Gateway) -> None:
    calendar.events().list(calendarId=TEAM, q="In a batch").execute()

    def requests(api: Any) -> dict[str, Any]:
        body = {"summary": "In a batch", "description": "Gr\u00fc\u00dfe", **SPAN}
        return {str(number): api.events().insert(calendarId=TEAM, body=body) for number in range(3)}

    results = batched(gateway, "calendar", "calendar", "v3", requests)
    listed = calendar.events().list(calendarId=TEAM, q="In a batch").execute()["items"]
    assert {event["id"] for event in listed} == {event["id"] for event in results.values()}
    assert {event["description"] for event in listed} == {"Gr\u00fc\u00dfe"}


def test_the_sdks_own_batch_ignores_the_endpoint(gateway: Gateway) -> None:
    """docs/demonstration.md has the way that works."""
    with client(gateway, "gmail", "v1", "gmail/") as service:
        assert service.new_batch_http_request()._batch_uri == "https://gmail.googleapis.com/batch"


def test_events_are_listed_in_pages_with_a_sync_token_on_the_last(calendar: Any) -> None:
    events = calendar.events()
    request, found, response = events.list(calendarId=TEAM, maxResults=2, singleEvents=True), [], {}
    while request is not None:
        response = request.execute()
        found += response["items"]
        request = events.list_next(request, response)
    assert len(found) >= 4
    added = events.insert(calendarId=TEAM, body={"summary": f"Review {uuid.uuid4()}", **SPAN}).execute()
    changes = events.list(calendarId=TEAM, syncToken=response["nextSyncToken"]).execute()["items"]
    assert [change["summary"] for change in changes] == [added["summary"]]


def test_an_event_that_is_changed_is_read_as_changed(calendar: Any) -> None:
    event = calendar.events().get(calendarId="primary", eventId="evt_3f1c").execute()
    location = f"Room {uuid.uuid4()}"
    calendar.events().patch(calendarId="primary", eventId="evt_3f1c", body={"location": location}).execute()
    changed = calendar.events().get(calendarId="primary", eventId="evt_3f1c").execute()
    assert (changed["location"], changed["summary"]) == (location, event["summary"])
    assert changed["etag"] != event["etag"]


def test_a_bad_sync_token_is_a_410(calendar: Any) -> None:
    with pytest.raises(HttpError) as gone:
        calendar.events().list(calendarId=TEAM, syncToken="old").execute()
    assert gone.value.status_code == 410
    assert json.loads(gone.value.content)["error"]["errors"][0]["reason"] == "fullSyncRequired"


def test_the_other_reads_of_a_calendar(calendar: Any) -> None:
    span = {"timeMin": "2026-11-30T00:00:00Z", "timeMax": "2026-12-01T00:00:00Z", "items": [{"id": TEAM}]}
    assert calendar.freebusy().query(body=span).execute()["calendars"][TEAM]["busy"]
    assert calendar.calendarList().list().execute()["items"][0]["primary"]
    assert calendar.colors().get().execute()["kind"] == "calendar#colors"


def test_a_channel_is_made_and_stopped(calendar: Any) -> None:
    wanted = {"id": str(uuid.uuid4()), "type": "web_hook", "address": "http://127.0.0.1:9/hook", "token": "t"}
    channel = calendar.events().watch(calendarId=TEAM, body=wanted).execute()
    assert channel["kind"] == "api#channel"
    calendar.channels().stop(body={"id": channel["id"], "resourceId": channel["resourceId"]}).execute()


def test_an_event_is_deleted(calendar: Any) -> None:
    event = calendar.events().insert(calendarId=TEAM, body={"summary": "Short", **SPAN}).execute()
    assert not calendar.events().delete(calendarId=TEAM, eventId=event["id"]).execute()
    assert calendar.events().get(calendarId=TEAM, eventId=event["id"]).execute()["status"] == "cancelled"
