"""A calendar whose responses have a max-age and an ETag for revalidation (RFC 9110 section 8.8.3)."""

import hashlib
import json
from typing import Final

from aiohttp import web

from routing.demo.json_backend import json_backend

EVENTS: Final = (
    ("evt_3f1c", "Weekly planning", "2026-11-30T09:00:00Z", "2026-11-30T09:30:00Z", "Room Aalto"),
    ("evt_4a90", "Contoso renewal call", "2026-11-30T13:00:00Z", "2026-11-30T13:45:00Z", "Video"),
    ("evt_51be", "Incident review: INC-2041", "2026-12-01T15:00:00Z", "2026-12-01T16:00:00Z", "Room Eames"),
    ("evt_7d02", "Hiring panel, platform", "2026-12-02T14:00:00Z", "2026-12-02T15:00:00Z", "Room Aalto"),
)
BODY: Final = json.dumps(
    {
        "timeZone": "UTC",
        "events": [
            {"id": key, "summary": summary, "start": start, "end": end, "location": location}
            for key, summary, start, end, location in EVENTS
        ],
    }
)
ETAG: Final = hashlib.sha256(BODY.encode()).hexdigest()[:16]


async def events(request: web.Request) -> web.Response:
    fields = {"Cache-Control": "max-age=60", "ETag": f'"{ETAG}"'}
    if any(tag.value in (ETAG, "*") for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=fields)
    return web.Response(text=BODY, content_type="application/json", headers=fields)


def calendar_backend() -> web.Application:
    calendar = json_backend("calendar-intelligence/1.2")
    calendar.router.add_get("/events", events)
    return calendar
