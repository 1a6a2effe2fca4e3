"""The Google Calendar API, version 3 (developers.google.com/workspace/calendar/api/v3/reference)."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aiohttp import web

from routing.demo.calendar_channels import Channels
from routing.demo.calendars import OWNER, Calendar, Calendars, etag
from routing.demo.controls import Controls, reply
from routing.demo.google import GoogleAccess, GoogleError, error_response, not_found, page
from routing.demo.google_batch import Batches
from routing.demo.json_backend import JsonObject, json_body

QUERIES_PER_MINUTE: Final = 600
CALLS_IN_A_BATCH: Final = 50
SECONDS: Final = 0.15
HEADERS: Final = {
    "Cache-Control": "no-cache, no-store, max-age=0, must-revalidate",
    "Pragma": "no-cache",
    "Expires": "Mon, 01 Jan 1990 00:00:00 GMT",
    "Vary": "Origin, X-Origin",
    "X-Content-Type-Options": "nosniff",
}
Read = Callable[[web.Request], JsonObject]
Write = Callable[[web.Request, JsonObject], JsonObject | None]


class CalendarApi:
    def __init__(self, calendars: Calendars, controls: Controls) -> None:
        self._calendars = calendars
        self._controls = controls
        self._access = GoogleAccess(controls)
        self._channels = Channels(controls)

    def attach(self, backend: web.Application) -> None:
        self._access.attach(backend)
        Batches("/calendar/v3", CALLS_IN_A_BATCH).attach(backend)
        root, events = "/calendar/v3", "/calendar/v3/calendars/{calendar}/events"
        reads: tuple[tuple[str, str, Read], ...] = (
            ("/users/me/calendarList", "calendarList.list", self._calendar_list),
            ("/users/me/settings", "settings.list", _settings),
            ("/colors", "colors.get", _colors),
            ("/calendars/{calendar}", "calendars.get", self._calendar),
            ("/calendars/{calendar}/events", "events.list", self._list),
            ("/calendars/{calendar}/events/{event}", "events.get", self._get),
        )
        for path, operation, read in reads:
            backend.router.add_get(root + path, partial(self._read, operation, read))
        changes: tuple[tuple[str, str, str, Write], ...] = (
            ("POST", events, "events.insert", self._insert),
            ("PATCH", f"{events}/{{event}}", "events.patch", self._update),
            ("PUT", f"{events}/{{event}}", "events.update", self._update),
            ("DELETE", f"{events}/{{event}}", "events.delete", self._delete),
            ("POST", f"{events}/watch", "events.watch", self._watch),
            ("POST", f"{root}/channels/stop", "channels.stop", self._stop),
            ("POST", f"{root}/freeBusy", "freebusy.query", self._free_busy),
        )
        for method, path, operation, change in changes:
            backend.router.add_route(method, path, partial(self._change, operation, change))

    async def _read(self, operation: str, read: Read, request: web.Request) -> web.Response:
        """With an ETag of the content: a request with the same one is answered 304."""
        try:
            self._access.check(request, operation, 1, QUERIES_PER_MINUTE)
            await self._controls.wait(SECONDS)
            body = read(request)
        except GoogleError as error:
            return error_response(error, HEADERS)
        tag = etag(body)
        if any(f'"{given.value}"' == tag for given in request.if_none_match or ()):
            return web.Response(status=304, headers=HEADERS | {"ETag": tag})
        return reply({"etag": tag, **body}, headers=HEADERS | {"ETag": tag})

    async def _change(self, operation: str, change: Write, request: web.Request) -> web.Response:
        try:
            self._access.check(request, operation, 1, QUERIES_PER_MINUTE)
            await self._controls.wait(SECONDS)
            body = change(request, await json_body(request) if request.can_read_body else {})
        except GoogleError as error:
            return error_response(error, HEADERS)
        if body is None:
            return web.Response(status=204, headers=HEADERS)
        tags = {"ETag": body["etag"]} if "etag" in body else {}
        return reply(body, headers=HEADERS | tags)

    def _calendar_list(self, _: web.Request) -> JsonObject:
        items = [
            {
                "kind": "calendar#calendarListEntry",
                "id": calendar.key,
                "summary": calendar.summary,
                "timeZone": "UTC",
                "accessRole": "owner",
                "selected": True,
                **({"primary": True} if calendar.key == OWNER else {}),
            }
            for calendar in self._calendars.all()
        ]
        return {"kind": "calendar#calendarList", "nextSyncToken": "list-0", "items": items}

    def _calendar(self, request: web.Request) -> JsonObject:
        calendar = self._find(request)
        return {"kind": "calendar#calendar", "id": calendar.key, "summary": calendar.summary, "timeZone": "UTC"}

    def _list(self, request: web.Request) -> JsonObject:
        """All events, or with a sync token those changed since. The next sync token is on the last page only."""
        calendar, query = self._find(request), request.query
        sync = query.get("syncToken")
        items = calendar.current() if sync is None else calendar.changed_since(_version(calendar, sync))
        if query.get("orderBy") == "startTime":
            if query.get("singleEvents") != "true":
                raise GoogleError(
                    400, "badRequest", "The requested ordering is not available for the particular query."
                )
            items = sorted(items, key=lambda event: str(event["start"].get("dateTime") or event["start"].get("date")))
        shown, token = page(_within(items, query), query.get("pageToken", ""), query.get("maxResults"), 250, 2_500)
        head = {"kind": "calendar#events", "summary": calendar.summary, "timeZone": "UTC", "accessRole": "owner"}
        last = {"nextPageToken": token} if token else {"nextSyncToken": f"{calendar.key}:{calendar.version}"}
        updated = max((event["updated"] for event in items), default="")
        return {**head, "updated": updated, "defaultReminders": [], **last, "items": shown}

    def _get(self, request: web.Request) -> JsonObject:
        return {name: value for name, value in self._event(request)[1].items() if name != "etag"}

    def _insert(self, request: web.Request, given: JsonObject) -> JsonObject:
        calendar = self._find(request)
        if "start" not in given or "end" not in given:
            raise GoogleError(400, "required", "Missing end time." if "start" in given else "Missing start time.")
        return self._reported(calendar, calendar.insert(given))

    def _update(self, request: web.Request, given: JsonObject) -> JsonObject:
        calendar, event = self._event(request)
        if request.headers.get("If-Match") not in (None, "*", event["etag"]):
            raise GoogleError(412, "conditionNotMet", "Precondition Failed")
        return self._reported(calendar, calendar.update(event["id"], given))

    def _delete(self, request: web.Request, _: JsonObject) -> None:
        calendar, event = self._event(request)
        calendar.delete(event["id"])
        self._channels.report(calendar.key)

    def _watch(self, request: web.Request, given: JsonObject) -> JsonObject:
        return self._channels.watch(self._find(request).key, given)

    def _stop(self, _: web.Request, given: JsonObject) -> None:
        self._channels.stop(given)

    def _free_busy(self, _: web.Request, given: JsonObject) -> JsonObject:
        begin, end = str(given.get("timeMin", "")), str(given.get("timeMax", ""))
        if not begin or not end:
            raise GoogleError(400, "required", "Required")
        busy: JsonObject = {}
        for item in given.get("items") or ():
            calendar = self._calendars.of(str(item.get("id")))
            if calendar is None:
                busy[item.get("id")] = {"errors": [{"domain": "global", "reason": "notFound"}], "busy": []}
                continue
            spans = (
                (event["start"].get("dateTime", ""), event["end"].get("dateTime", "")) for event in calendar.current()
            )
            overlapping = [{"start": start, "end": until} for start, until in spans if start < end and until > begin]
            busy[str(item.get("id"))] = {"busy": overlapping}
        return {"kind": "calendar#freeBusy", "timeMin": begin, "timeMax": end, "calendars": busy}

    def _reported(self, calendar: Calendar, event: JsonObject) -> JsonObject:
        self._channels.report(calendar.key)
        return event

    def _find(self, request: web.Request) -> Calendar:
        calendar = self._calendars.of(request.match_info["calendar"])
        if calendar is None:
            raise not_found()
        return calendar

    def _event(self, request: web.Request) -> tuple[Calendar, JsonObject]:
        calendar = self._find(request)
        event = calendar.events.get(request.match_info["event"])
        if event is None:
            raise not_found()
        if event["status"] == "cancelled" and request.method != "GET":
            raise GoogleError(410, "deleted", "Resource has been deleted")
        return calendar, event


def _settings(_: web.Request) -> JsonObject:
    items = [{"kind": "calendar#setting", "id": "timezone", "value": "UTC"}]
    return {"kind": "calendar#settings", "nextSyncToken": "settings-0", "items": items}


def _colors(_: web.Request) -> JsonObject:
    colors = {
        "1": {"background": "#a4bdfc", "foreground": "#1d1d1d"},
        "2": {"background": "#7ae7bf", "foreground": "#1d1d1d"},
    }
    return {"kind": "calendar#colors", "updated": "2012-02-14T00:00:00.000Z", "calendar": colors, "event": colors}


def _version(calendar: Calendar, token: str) -> int:
    """The version of a sync token. Raises GoogleError 410 for one that is not this calendar's."""
    key, _, version = token.rpartition(":")
    if key == calendar.key and version.isdigit() and int(version) <= calendar.version:
        return int(version)
    message = "Sync token is no longer valid, a full sync is required."
    raise GoogleError(
        410, "fullSyncRequired", message, domain="calendar", location="syncToken", locationType="parameter"
    )


def _within(items: list[JsonObject], query: Any) -> list[JsonObject]:
    """The events between `timeMin` and `timeMax` that contain `q`."""
    begin, end, words = query.get("timeMin", ""), query.get("timeMax", "9999"), query.get("q", "").lower()
    return [
        event
        for event in items
        if str(event["start"].get("dateTime", "")) < end
        and (not begin or str(event["end"].get("dateTime", "")) > begin)
        and words in str(event.get("summary", "")).lower()
    ]
