"""Each preset alone, in front of responses with the header fields that its API really sends."""

import json
from typing import Any

import pytest

from routing.configuration.decode import decode_service
from tests.gateway.cache_steps import reply
from tests.gateway.conftest import World
from tests.origin import ScriptedOrigin

SLACK: dict[str, Any] = {
    "cache_control": "private, no-cache, no-store, must-revalidate",
    "expires": "Sat, 26 Jul 1997 05:00:00 GMT",
    "pragma": "no-cache",
    "vary": "Accept-Encoding",
    "set_cookie": "b=2k0mvk; path=/; domain=.slack.com",
}
GMAIL: dict[str, Any] = {"cache_control": "private", "vary": "Origin, X-Origin, Referer"}
GOOGLE: dict[str, Any] = {
    "cache_control": "private, max-age=0, must-revalidate, no-transform",
    "expires": "Tue, 14 Nov 2023 22:13:20 GMT",
    "vary": "Origin, X-Origin, Referer",
}
CALENDAR: dict[str, Any] = {
    "cache_control": "no-cache, no-store, max-age=0, must-revalidate",
    "expires": "Mon, 01 Jan 1990 00:00:00 GMT",
    "pragma": "no-cache",
    "etag": '"p33cdb6s"',
    "vary": "Origin, X-Origin",
}
HUBSPOT = {"set_cookie": "__cfduid=d1; path=/; HttpOnly", "x_hubspot_ratelimit_daily_remaining": "249999"}
SALESFORCE = {
    "cache_control": "no-cache,must-revalidate,max-age=0,no-store,private",
    "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "set_cookie": "BrowserId=a; path=/",
    "sforce_limit_info": "api-usage=18/5000",
}
GITHUB: dict[str, Any] = {
    "cache_control": "private, max-age=60, s-maxage=60",
    "etag": 'W/"a"',
    "vary": "Accept, Authorization, Cookie",
}
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
SECONDARY_URL = (
    "https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api"
    "#about-secondary-rate-limits"
)
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
JSON = [("Content-Type", "application/json")]


async def connect(world: World, preset: str, *replies: bytes, **own: Any) -> ScriptedOrigin:
    """A service `api` with the preset in front of these responses, the last of which is repeated."""
    origin = await ScriptedOrigin(*replies).__aenter__()
    world.origins.append(origin)
    world.add(decode_service("api", {"preset": preset, "targets": [{"url": origin.url}], **own}, lambda _name: "x"))
    return origin


async def send(world: World, method: str, path: str, body: bytes = b"", headers: Any = ()) -> tuple[int, str]:
    more = {"body": [body]} if body else {}
    response = await world.request(method, f"/api/v1/api{path}", headers, **more)
    return response.status, response.get("x-cache") or ""


def answer(content: Any, status: int = 200, **fields: str) -> bytes:
    return reply(status, json.dumps(content).encode(), content_type="application/json; charset=utf-8", **fields)


@pytest.mark.parametrize(
    ("preset", "fields", "line", "body"),
    [
        ("slack", SLACK, "GET /conversations.list?limit=200", b""),
        ("slack", SLACK, "POST /conversations.history", b"channel=C1&limit=15"),
        ("slack", SLACK, "POST /users.info", b'{"user": "U1"}'),
        ("gmail", GMAIL, "GET /gmail/v1/users/me/messages?q=is:unread", b""),
        ("gmail", GMAIL, "GET /gmail/v1/users/me/messages/18c?format=full", b""),
        ("gmail", GOOGLE, "GET /gmail/v1/users/me/labels", b""),
        ("google-calendar", GOOGLE, "GET /calendar/v3/users/me/calendarList", b""),
        ("google-calendar", CALENDAR, "GET /calendar/v3/calendars/ann%40example.com/events", b""),
        ("google-calendar", CALENDAR, "GET /calendar/v3/calendars/en.de%23holiday%40group.v.calendar.google.com", b""),
        ("google-calendar", CALENDAR, "GET /calendar/v3/calendars/en.de%23holiday%40group.v/events?maxResults=9", b""),
        ("google-calendar", CALENDAR, "GET /calendar/v3/calendars/en.de%23holiday%40group.v/events/1", b""),
        ("google-calendar", CALENDAR, "POST /calendar/v3/freeBusy", b'{"items": []}'),
        ("hubspot", HUBSPOT, "GET /crm/v3/objects/contacts?limit=10", b""),
        ("hubspot", HUBSPOT, "POST /crm/v3/objects/contacts/search", b'{"query": "ann"}'),
        ("hubspot", HUBSPOT, "GET /crm/objects/2026-03/contacts/1?properties=email", b""),
        ("hubspot", HUBSPOT, "POST /crm/objects/2026-03/contacts/search", b'{"query": "ann"}'),
        ("hubspot", HUBSPOT, "GET /crm/properties/2026-03/contacts", b""),
        ("hubspot", HUBSPOT, "GET /crm/owners/2026-03?limit=100", b""),
        ("hubspot", HUBSPOT, "GET /crm-object-schemas/v3/schemas", b""),
        ("salesforce", SALESFORCE, "GET /services/data/v60.0/query?q=SELECT+Id", b""),
        ("salesforce", SALESFORCE, "GET /services/data/v60.0/query/?q=SELECT+Id", b""),
        ("salesforce", SALESFORCE, "GET /services/data/v60.0/sobjects/Contact/003", b""),
        ("salesforce", SALESFORCE, "GET /services/data/v60.0/sobjects/Contact/describe/", b""),
        ("github", GITHUB, "GET /repos/acme/site/issues", b""),
        ("github", GITHUB, "GET /repos/acme/site/contents/docs%2Findex.md?ref=feature%2Fx", b""),
        ("openai", {}, "POST /v1/embeddings", b'{"input": "a", "model": "m"}'),
        ("openai", {}, "GET /v1/models", b""),
        ("anthropic", {}, "GET /v1/models", b""),
    ],
)
async def test_what_the_api_sends_is_stored(
    world: World, preset: str, fields: dict[str, Any], line: str, body: bytes
) -> None:
    method, path = line.split(" ")
    origin = await connect(world, preset, answer({"ok": True}, **fields))
    headers = JSON if body.startswith(b"{") else FORM if body else []
    assert await send(world, method, path, body, headers) == (200, "MISS")
    assert await send(world, method, path, body, headers) == (200, "HIT")
    assert len(origin.requests) == 1


@pytest.mark.parametrize(
    ("preset", "method", "path"),
    [
        ("slack", "POST", "/chat.postMessage"),
        ("slack", "GET", "/search.messages?query=a"),
        ("slack", "POST", "/oauth.v2.access"),
        ("google-calendar", "POST", "/calendar/v3/calendars/primary/events/watch"),
        ("hubspot", "POST", "/crm/v3/objects/contacts"),
        ("salesforce", "GET", "/services/data/v60.0/limits"),
        ("salesforce", "GET", "/services/data/v60.0/sobjects/Contact"),
        ("salesforce", "POST", "/services/data/v60.0/query"),
        ("salesforce", "POST", "/services/data/v60.0/jobs/ingest/"),
        ("github", "GET", "/rate_limit"),
        ("openai", "POST", "/v1/chat/completions"),
        ("anthropic", "POST", "/v1/messages"),
    ],
)
async def test_writes_and_what_changes_by_itself_are_not(world: World, preset: str, method: str, path: str) -> None:
    origin = await connect(world, preset, answer({"ok": True}))
    body = b"{}" if method == "POST" else b""
    for _ in range(2):
        assert await send(world, method, path, body, JSON if body else []) == (200, "BYPASS")
    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    "code",
    [
        "channel_not_found",
        "missing_scope",
        "invalid_auth",
        "token_revoked",
        "internal_error",
        "ratelimited",
        "new_code",
    ],
)
async def test_what_slack_calls_not_ok_is_never_stored(world: World, code: str) -> None:
    await connect(
        world, "slack", answer({"ok": False, "error": code}, **SLACK), retries={"attempts": 1}, hold_off=False
    )
    for _ in range(2):
        _, cached = await send(world, "GET", "/conversations.list")
        assert cached == "MISS"


async def test_a_page_in_place_of_slacks_json_is_not_stored(world: World) -> None:
    await connect(world, "slack", reply(200, b"<p>We are looking into it.", content_type="text/html", **SLACK))
    for _ in range(2):
        assert await send(world, "GET", "/conversations.list") == (200, "MISS")


async def test_slacks_failures_open_the_circuit_and_callers_faults_do_not(world: World) -> None:
    failed = answer({"ok": False, "error": "internal_error"}, **SLACK)
    fault = answer({"ok": False, "error": "channel_not_found"}, **SLACK)
    once = {"retries": {"attempts": 1}, "breaker": {"failure_threshold": 3}}
    await connect(world, "slack", *[fault] * 5, failed, **once)
    for _ in range(5):
        assert (await send(world, "GET", "/conversations.info?channel=C1"))[0] == 200
    assert world.observer.circuits == []
    for _ in range(3):
        await send(world, "GET", "/conversations.info?channel=C1")
    assert ("api", "CLOSED", "OPEN") in world.observer.circuits


@pytest.mark.parametrize(
    ("preset", "path", "limited"),
    [
        ("slack", "/search.all", answer({"ok": False, "error": "ratelimited"}, 429, retry_after="30")),
        ("slack", "/search.all", answer({"ok": False, "error": "ratelimited"}, retry_after="30")),
        (
            "gmail",
            "/gmail/v1/users/me/history",
            answer({"error": {"code": 403, "errors": [{"reason": "rateLimitExceeded"}]}}, 403, retry_after="30"),
        ),
        ("hubspot", "/crm/v3/exports", answer({"policyName": "SECONDLY"}, 429, retry_after="30")),
        ("hubspot", "/crm/v3/exports", answer({"message": "Migration in progress"}, 477, retry_after="30")),
        (
            "salesforce",
            "/services/data/v60.0/limits",
            answer([{"errorCode": "REQUEST_LIMIT_EXCEEDED"}], 403, retry_after="30"),
        ),
        ("salesforce", "/services/data/v60.0/limits", answer([], 429, retry_after="30")),
        ("github", "/rate_limit", answer({}, 403, x_ratelimit_remaining="0", retry_after="30")),
        ("github", "/graphql", answer({"errors": [{"type": "RATE_LIMITED"}]}, retry_after="30")),
        ("github", "/graphql", answer({"errors": [{"type": "RATE_LIMIT"}]}, retry_after="30")),
        ("openai", "/v1/files", answer({"error": {"code": "rate_limit_exceeded"}}, 429, retry_after="30")),
        ("openai", "/v1/files", answer({"error": {"code": "429"}}, 429, retry_after="30")),
        ("openai", "/v1/files", answer({"error": {"code": "NoCapacity"}}, 429, x_ms_retry_after_ms="30000")),
        ("anthropic", "/v1/files", answer({"error": {"type": "rate_limit_error"}}, 429, retry_after="30")),
    ],
)
async def test_a_limit_that_was_reached_holds_calls_off(world: World, preset: str, path: str, limited: bytes) -> None:
    origin = await connect(world, preset, limited, answer({"ok": True}))
    await send(world, "GET", path)
    held = await world.request("GET", f"/api/v1/api{path}")
    assert (held.status, held.json()["code"]) == (429, "backend_limited")
    assert held.get("retry-after") == "30"
    assert len(origin.requests) == 1
    world.clock.advance(31)
    assert (await send(world, "GET", path))[0] == 200


@pytest.mark.parametrize(
    ("preset", "path", "error"),
    [
        ("openai", "/v1/chat/completions", {"code": "rate_limit_exceeded"}),
        ("openai", "/v1/embeddings", {"code": "rate_limit_exceeded"}),
        ("anthropic", "/v1/messages", {"type": "rate_limit_error"}),
    ],
)
async def test_a_limit_of_one_model_holds_no_other_off(
    world: World, preset: str, path: str, error: dict[str, str]
) -> None:
    origin = await connect(world, preset, answer({"error": error}, 429, retry_after="30"), answer({"ok": True}))
    for model, status in (("large", 429), ("large", 429), ("small", 200)):
        assert (await send(world, "POST", path, json.dumps({"model": model}).encode(), JSON))[0] == status
    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    "limited",
    [
        answer({"message": SECONDARY, "documentation_url": "https://docs.github.com/rest"}, 403),
        answer({"message": f"{SECONDARY} Request ID: 1", "documentation_url": SECONDARY_URL}, 403),
        answer({"message": "Slow down"}, 403, gh_limited_by="search-elapsed-time-shared-grouped"),
    ],
)
async def test_a_secondary_limit_of_github_that_says_no_time_holds_calls_off(world: World, limited: bytes) -> None:
    origin = await connect(world, "github", limited, answer({}))
    assert (await send(world, "GET", "/search/issues?q=a"))[0] == 403
    assert (await send(world, "GET", "/search/issues?q=b"))[0] == 429
    assert len(origin.requests) == 1


async def test_a_permission_that_is_missing_at_github_is_no_limit(world: World) -> None:
    refused = answer({"message": "Resource not accessible by integration", "documentation_url": "https://a"}, 403)
    await connect(world, "github", refused)
    assert [(await send(world, "GET", "/search/issues?q=a"))[0] for _ in range(2)] == [403, 403]


@pytest.mark.parametrize(("preset", "path"), [("hubspot", "/crm/v3/exports"), ("openai", "/v1/files")])
async def test_failures_of_the_network_in_front_of_an_api_open_the_circuit(
    world: World, preset: str, path: str
) -> None:
    once = {"retries": {"attempts": 1}, "breaker": {"failure_threshold": 3}}
    await connect(world, preset, reply(522, b"<p>Connection timed out", content_type="text/html"), **once)
    assert [(await send(world, "GET", path))[0] for _ in range(4)] == [522, 522, 522, 503]


@pytest.mark.parametrize(
    ("preset", "limited", "held", "free"),
    [
        ("github", "GET /search/code?q=a", ["GET /search/code?q=b"], ["GET /search/issues?q=a", "GET /user"]),
        ("github", "POST /graphql", ["POST /graphql"], ["GET /repos/acme/site", "GET /user"]),
        (
            "github",
            "GET /repos/acme/site",
            ["GET /repos/acme/site/issues"],
            ["GET /search/issues?q=a", "POST /graphql"],
        ),
        ("github", "GET /user", ["GET /orgs/acme"], ["GET /search/code?q=a", "POST /graphql"]),
        (
            "hubspot",
            "POST /crm/v3/objects/contacts/search",
            ["POST /crm/v3/objects/deals/search"],
            ["GET /crm/v3/objects/contacts/1"],
        ),
        ("hubspot", "GET /crm/v3/objects/contacts/1", ["POST /crm/v3/objects/contacts/search"], []),
        (
            "gmail",
            "POST /gmail/v1/users/me/messages/send",
            ["POST /gmail/v1/users/me/messages/send"],
            ["GET /gmail/v1/users/me/messages", "POST /gmail/v1/users/me/settings/filters"],
        ),
        (
            "gmail",
            "GET /gmail/v1/users/me/messages",
            ["POST /gmail/v1/users/me/messages/send", "GET /gmail/v1/users/me/labels"],
            [],
        ),
    ],
)
async def test_a_limit_holds_off_what_it_is_for(
    world: World, preset: str, limited: str, held: list[str], free: list[str]
) -> None:
    await connect(world, preset, answer({}, 429, retry_after="30"), answer({}))
    found = []
    for line in (limited, *held, *free):
        method, path = line.split(" ")
        body = b"{}" if method == "POST" else b""
        found.append((await send(world, method, path, body, JSON if body else []))[0])
    assert found == [429] * (1 + len(held)) + [200] * len(free)


@pytest.mark.parametrize(
    ("preset", "path"),
    [
        ("github", "/repos/acme/site/branches/feature%2Flogin"),
        ("openai", "/v1/models/meta-llama%2FLlama-4"),
        ("anthropic", "/v1/models/a%2Fb"),
        ("salesforce", "/services/data/v60.0/sobjects/Account/Ext__c/a%2Fb"),
        ("hubspot", "/crm/v3/objects/2-1/a%2Fb?idProperty=code"),
    ],
)
async def test_names_with_slashes_reach_the_api(world: World, preset: str, path: str) -> None:
    origin = await connect(world, preset, answer({}))
    assert (await send(world, "GET", path))[0] == 200
    assert origin.requests[0].line.split()[1] == path.encode()


@pytest.mark.parametrize(
    ("preset", "path", "name", "values"),
    [
        ("github", "/repos/acme/site", "X-GitHub-Api-Version", ("2022-11-28", "2026-03-10")),
        ("salesforce", "/services/data/v60.0/sobjects", "Accept", ("application/json", "application/xml")),
        ("salesforce", "/services/data/v60.0/query?q=S", "Sforce-Query-Options", ("batchSize=200", "x")),
        ("gmail", "/gmail/v1/users/me/labels", "X-Goog-FieldMask", ("labels(id)", "*")),
        ("google-calendar", "/calendar/v3/colors", "X-Goog-FieldMask", ("event", "*")),
        ("anthropic", "/v1/models", "Anthropic-Version", ("2023-06-01", "2026-10-21")),
        ("anthropic", "/v1/models", "Anthropic-Beta", ("a-2026-01-01", "b-2026-01-01")),
    ],
)
async def test_each_form_that_a_field_asks_for_is_an_answer_of_its_own(
    world: World, preset: str, path: str, name: str, values: tuple[str, ...]
) -> None:
    fields = {"github": GITHUB, "salesforce": SALESFORCE, "gmail": GMAIL, "google-calendar": CALENDAR}
    origin = await connect(world, preset, answer({}, **fields.get(preset, {})))
    for value in values:
        for cached in ("MISS", "HIT"):
            assert await send(world, "GET", path, headers=[(name, value)]) == (200, cached)
        assert (name.lower().encode(), value.encode()) in origin.requests[-1].fields
    assert len(origin.requests) == 2


async def test_a_mailboxs_history_is_not_stored(world: World) -> None:
    origin = await connect(world, "gmail", answer({"historyId": "2"}, **GMAIL))
    for _ in range(2):
        assert await send(world, "GET", "/gmail/v1/users/me/history?startHistoryId=1") == (200, "MISS")
    assert len(origin.requests) == 2


NOT_FOUND = {"error": {"code": 404, "errors": [{"reason": "notFound"}], "message": "Requested entity was not found."}}
FULL_SYNC = {"error": {"code": 410, "errors": [{"reason": "fullSyncRequired"}], "message": "Sync token is not valid."}}
GONE = {
    "gmail": (answer({}, **GMAIL), answer(NOT_FOUND, 404, **GMAIL)),
    "google-calendar": (answer({}, **CALENDAR), answer(FULL_SYNC, 410, **CALENDAR)),
}


@pytest.mark.parametrize(
    ("preset", "path", "others"),
    [
        (
            "gmail",
            "/gmail/v1/users/me/history?startHistoryId=1",
            ["/gmail/v1/users/me/messages?q=a", "/gmail/v1/users/me/labels", "/gmail/v1/users/me/threads/18c"],
        ),
        (
            "google-calendar",
            "/calendar/v3/calendars/primary/events?syncToken=old",
            ["/calendar/v3/calendars/primary/events", "/calendar/v3/calendars/primary/events/1"],
        ),
        ("google-calendar", "/calendar/v3/users/me/calendarList?syncToken=old", ["/calendar/v3/users/me/calendarList"]),
    ],
)
async def test_a_sync_state_that_is_gone_ends_what_its_caller_has_stored(
    world: World, preset: str, path: str, others: list[str]
) -> None:
    current, lost = GONE[preset]
    origin = await connect(world, preset, *[current] * (2 * len(others)), lost, current)
    for key in (world.key, world.other_key):
        for other in others:
            assert (await world.request("GET", f"/api/v1/api{other}", key=key)).get("x-cache") == "MISS"
    assert (await world.request("GET", f"/api/v1/api{path}")).status in (404, 410)
    for other in others:
        assert (await world.request("GET", f"/api/v1/api{other}", key=world.other_key)).get("x-cache") == "HIT"
        assert (await world.request("GET", f"/api/v1/api{other}")).get("x-cache") == "MISS"
    assert len(origin.requests) == 3 * len(others) + 1


GOOGLES = {"gmail": GMAIL, "google-calendar": CALENDAR}


@pytest.mark.parametrize(
    ("preset", "write", "reads"),
    [
        ("slack", "POST /chat.postMessage", ["POST /conversations.history", "POST /conversations.replies"]),
        ("slack", "POST /chat.delete", ["POST /conversations.history"]),
        ("slack", "POST /reactions.add", ["POST /conversations.history"]),
        ("slack", "POST /files.completeUploadExternal", ["POST /conversations.history"]),
        ("slack", "POST /chat.stopStream", ["POST /conversations.history", "POST /conversations.replies"]),
        ("slack", "POST /files.delete", ["POST /conversations.history"]),
        ("slack", "POST /pins.add", ["POST /conversations.history"]),
        ("slack", "POST /conversations.setTopic", ["POST /conversations.history", "POST /conversations.info"]),
        ("slack", "POST /conversations.open", ["GET /conversations.list"]),
        ("slack", "POST /users.setPhoto", ["POST /users.info"]),
        ("slack", "POST /conversations.create", ["GET /conversations.list"]),
        ("slack", "POST /conversations.invite", ["POST /conversations.members", "POST /conversations.info"]),
        ("slack", "POST /users.profile.set", ["POST /users.info", "GET /users.list"]),
        ("slack", "POST /conversations.mark", ["POST /conversations.info"]),
        ("gmail", "POST /gmail/v1/users/Ann%40Acme.example/labels", ["GET /gmail/v1/users/ann@acme.example/labels"]),
        ("gmail", "PUT /resumable/upload/gmail/v1/users/me/messages/send", ["GET /gmail/v1/users/me/messages"]),
        ("salesforce", "POST /services/data/v60.0/actions/custom/flow/A", ["GET /services/data/v60.0/query?q=SELECT"]),
        ("salesforce", "PATCH /services/data/v60.0/jobs/ingest/750", ["GET /services/data/v60.0/query?q=SELECT"]),
        ("salesforce", "POST /services/apexrest/orders", ["GET /services/data/v60.0/sobjects/Contact/3"]),
        ("gmail", "POST /gmail/v1/users/me/labels", ["GET /gmail/v1/users/me/labels"]),
        ("gmail", "DELETE /gmail/v1/users/me/labels/Label_1", ["GET /gmail/v1/users/me/labels"]),
        ("gmail", "POST /gmail/v1/users/me/messages/batchModify", ["GET /gmail/v1/users/me/messages?q=is:unread"]),
        ("gmail", "DELETE /gmail/v1/users/me/messages/18c", ["GET /gmail/v1/users/me/messages/18c"]),
        ("gmail", "POST /gmail/v1/users/me/threads/18c/trash", ["GET /gmail/v1/users/me/threads/18c"]),
        ("gmail", "POST /upload/gmail/v1/users/me/messages/send?uploadType=media", ["GET /gmail/v1/users/me/messages"]),
        ("gmail", "POST /batch/gmail/v1", ["GET /gmail/v1/users/me/labels", "GET /gmail/v1/users/me/messages/18c"]),
        (
            "google-calendar",
            "POST /calendar/v3/calendars/a/events/quickAdd?text=x",
            ["GET /calendar/v3/calendars/a/events"],
        ),
        (
            "google-calendar",
            "POST /calendar/v3/calendars/a/events/1/move?destination=b",
            ["GET /calendar/v3/calendars/b/events"],
        ),
        (
            "google-calendar",
            "PATCH /calendar/v3/calendars/a",
            ["GET /calendar/v3/calendars/a", "GET /calendar/v3/users/me/calendarList"],
        ),
        ("google-calendar", "POST /calendar/v3/calendars/a/clear", ["GET /calendar/v3/calendars/a/events/1"]),
        ("google-calendar", "DELETE /calendar/v3/calendars/a", ["GET /calendar/v3/users/me/calendarList"]),
        ("google-calendar", "POST /calendar/v3/users/me/calendarList", ["GET /calendar/v3/users/me/calendarList"]),
        (
            "google-calendar",
            "POST /batch/calendar/v3",
            ["GET /calendar/v3/calendars/a/events", "POST /calendar/v3/freeBusy"],
        ),
        (
            "hubspot",
            "POST /crm/v3/objects/contacts/batch/update",
            ["GET /crm/v3/objects/contacts/1", "POST /crm/v3/objects/contacts/search"],
        ),
        (
            "hubspot",
            "PATCH /crm/v3/objects/contacts/1",
            ["GET /crm/v3/objects/contacts/1", "GET /crm/v3/objects/contacts/ann@acme.example?idProperty=email"],
        ),
        (
            "hubspot",
            "PATCH /crm/v3/objects/contacts/ann@acme.example?idProperty=email",
            ["GET /crm/v3/objects/contacts/1", "GET /crm/v3/objects/contacts?limit=1"],
        ),
        ("hubspot", "POST /crm/v3/objects/contacts/merge", ["GET /crm/v3/objects/contacts/1"]),
        (
            "hubspot",
            "PUT /crm/v4/objects/contacts/1/associations/default/companies/2",
            ["GET /crm/v3/objects/contacts/1"],
        ),
        (
            "hubspot",
            "POST /crm/v4/associations/contacts/companies/batch/create",
            ["GET /crm/v3/objects/contacts/1?associations=companies", "GET /crm/v3/objects/companies?limit=1"],
        ),
        (
            "hubspot",
            "POST /crm/objects/2026-03/contacts/batch/update",
            ["GET /crm/objects/2026-03/contacts/1", "GET /crm/v3/objects/contacts/1"],
        ),
        ("hubspot", "PATCH /crm/objects/2026-03/contacts/1", ["GET /crm/v3/objects/contacts/1"]),
        (
            "hubspot",
            "POST /crm/v4/associations/contacts/companies/batch/labels/archive",
            ["GET /crm/v3/objects/contacts/1?associations=companies"],
        ),
        (
            "hubspot",
            "PATCH /crm-object-schemas/v3/schemas/2-1",
            ["GET /crm-object-schemas/v3/schemas", "GET /crm/v3/schemas"],
        ),
        ("hubspot", "POST /crm/v3/properties/contacts", ["GET /crm/v3/properties/contacts"]),
        ("hubspot", "PATCH /crm/v3/pipelines/deals/1/stages/2", ["GET /crm/v3/pipelines/deals"]),
        (
            "salesforce",
            "PATCH /services/data/v60.0/sobjects/Contact/Ext__c/7",
            ["GET /services/data/v60.0/query?q=SELECT"],
        ),
        ("salesforce", "POST /services/data/v60.0/composite/sobjects", ["GET /services/data/v60.0/sobjects/Contact/3"]),
        (
            "salesforce",
            "POST /services/data/v60.0/sobjects/Contact/",
            ["GET /services/data/v60.0/query/?q=SELECT", "GET /services/data/v60.0/query?q=SELECT"],
        ),
        (
            "salesforce",
            "PATCH /services/data/v60.0/ui-api/records/003",
            ["GET /services/data/v60.0/sobjects/Contact/003"],
        ),
        ("salesforce", "POST /services/data/v60.0/graphql", ["GET /services/data/v60.0/query?q=SELECT"]),
        ("salesforce", "POST /services/data/v60.0/process/approvals/", ["GET /services/data/v60.0/query?q=SELECT"]),
        ("github", "POST /repos/acme/site/issues", ["GET /repos/acme/site/issues?state=open"]),
        ("github", "PATCH /repos/acme/site", ["GET /repos/Acme/Site/issues"]),
        ("github", "PUT /user/starred/acme/site", ["GET /user/starred?per_page=5", "GET /search/repositories?q=a"]),
        ("github", "POST /repos/acme/site/issues", ["GET /issues", "GET /search/issues?q=a"]),
        ("openai", "DELETE /v1/models/ft:1", ["GET /v1/models"]),
    ],
)
async def test_a_write_is_seen_by_its_callers_next_read(
    world: World, preset: str, write: str, reads: list[str]
) -> None:
    """Without webhooks too."""
    await connect(world, preset, answer({"ok": True}, **GOOGLES.get(preset, {})))
    for read in reads:
        assert [await _sent(world, read) for _ in range(2)] == ["MISS", "HIT"]
    await _sent(world, write)
    assert [await _sent(world, read) for read in reads] == ["MISS"] * len(reads)


@pytest.mark.parametrize("path", ["/chat.postMessage?text=x", "/chat.scheduleMessage?text=x", "/conversations.invite"])
@pytest.mark.parametrize("status", [200, 503])
async def test_a_write_to_slack_by_get_is_not_sent_twice(world: World, path: str, status: int) -> None:
    failed = answer({"ok": False, "error": "internal_error"}, status)
    origin = await connect(world, "slack", failed, answer({"ok": True}))
    assert (await send(world, "GET", path))[0] == status
    assert len(origin.requests) == 1


async def test_a_write_that_slack_refuses_ends_nothing(world: World) -> None:
    refused = answer({"ok": False, "error": "not_in_channel"})
    await connect(world, "slack", answer({"ok": True}), answer({"ok": True}), refused)
    reads = ["POST /conversations.history", "GET /conversations.list"]
    for line in (*reads, "POST /chat.postMessage", "POST /conversations.create"):
        await _sent(world, line)
    assert [await _sent(world, read) for read in reads] == ["HIT", "HIT"]


async def test_posting_a_message_leaves_the_histories_of_other_callers(world: World) -> None:
    await connect(world, "slack", answer({"ok": True}))
    for key in (world.key, world.other_key):
        await world.request("GET", "/api/v1/api/conversations.history?channel=C1", key=key)
    await _sent(world, "POST /chat.postMessage")
    found = [
        (await world.request("GET", "/api/v1/api/conversations.history?channel=C1", key=key)).get("x-cache")
        for key in (world.key, world.other_key)
    ]
    assert found == ["MISS", "HIT"]


@pytest.mark.parametrize(
    "path",
    ["/calendars/primary/events", "/users/me/calendarList", "/users/me/settings", "/calendars/primary/events?a=1"],
)
async def test_what_has_changed_since_a_sync_token_is_asked_for_each_time(world: World, path: str) -> None:
    await connect(world, "google-calendar", answer({}, **CALENDAR))
    separator = "&" if "?" in path else "?"
    for query in ("syncToken=a", "sync%54oken=a", "pageToken=b&syncToken=a"):
        for _ in range(2):
            response = await world.request("GET", f"/api/v1/api/calendar/v3{path}{separator}{query}")
            assert response.get("cache-status") == "gateway; fwd=bypass; detail=query"
    assert [await _sent(world, f"GET /calendar/v3{path}{separator}pageToken=b") for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize("parameters", ["alt=json", "maxResults=250&alt=json"])
@pytest.mark.parametrize("calendar", ["ann@example.com", "primary"])
async def test_a_notification_of_a_calendar_ends_what_is_stored_of_it(
    world: World, calendar: str, parameters: str
) -> None:
    """The forms in which Google sends X-Goog-Resource-URI."""
    await connect(world, "google-calendar", answer({}, **CALENDAR))
    events = f"/calendar/v3/calendars/{calendar.replace('@', '%40')}/events"
    reads = [f"GET {events}?singleEvents=true", f"GET {events}/1", "GET /calendar/v3/calendars/b/events"]
    for read in reads:
        await _sent(world, read)
    uri = f"https://www.googleapis.com/calendar/v3/calendars/{calendar}/events?{parameters}"
    await world.cache.invalidate("api", [f"resource:{uri}"])
    assert [await _sent(world, read) for read in reads] == ["MISS", "MISS", "HIT"]


async def _sent(world: World, line: str) -> str:
    """X-Cache of the response to this method and path."""
    method, path = line.split(" ")
    body = b"{}" if method in ("POST", "PUT", "PATCH") else b""
    _, cached = await send(world, method, path, body, JSON if body else [])
    return cached
