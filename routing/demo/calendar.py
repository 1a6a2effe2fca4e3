"""Calendars: the Calendar API, and `/events`, whose responses have a max-age and an ETag (RFC 9110 section 8.8.3)."""

from aiohttp import web

from routing.demo.calendar_api import CalendarApi
from routing.demo.calendars import OWNER, Calendars, etag
from routing.demo.controls import Controls
from routing.demo.json_backend import json_backend


class Events:
    """The events of the caller's own calendar, in a form of its own."""

    def __init__(self, calendars: Calendars) -> None:
        self._calendars = calendars

    async def listing(self, request: web.Request) -> web.Response:
        calendar = self._calendars.of(OWNER)
        events = [
            {
                "id": event["id"],
                "summary": event.get("summary", ""),
                "start": event["start"].get("dateTime"),
                "end": event["end"].get("dateTime"),
                "location": event.get("location", ""),
            }
            for event in (calendar.current() if calendar else ())
        ]
        tag = etag(events)
        headers = {"Cache-Control": "max-age=60", "ETag": tag}
        if any(given.value in (tag.strip('"'), "*") for given in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.json_response({"timeZone": "UTC", "events": events}, headers=headers)


def calendar_backend() -> web.Application:
    calendars, controls, calendar = Calendars(), Controls(), json_backend("calendar-intelligence/1.2")
    controls.attach(calendar)
    CalendarApi(calendars, controls).attach(calendar)
    calendar.router.add_get("/events", Events(calendars).listing)
    return calendar
