"""Mailboxes: the messages depend on the caller, so that a response sent to the wrong caller would be visible."""

import zlib
from typing import Final

from aiohttp import web

from routing.demo.json_backend import json_backend

LETTERS: Final = (
    ("billing@northwind.example", "Invoice 2026-0217 is ready", "The amount of EUR 4,180.00 is due on 15 March."),
    ("r.okafor@contoso.example", "Re: Renewal terms", "We can live with 24 months if the ramp stays as discussed."),
    ("travel@company.example", "Your trip to Lisbon", "Check-in opens 30 hours before TP 571 leaves."),
    ("hr@company.example", "Interview panel on Wednesday", "You have the system design hour, 14:00 to 15:00."),
    ("alerts@monitoring.example", "Resolved: disk space on db-3", "Usage fell to 61 % after the old segments went."),
    ("l.moreau@fabrikam.example", "Draft of the data agreement", "Two open points in section 4, marked in yellow."),
)


async def messages(request: web.Request) -> web.Response:
    """Three of the letters, selected by the mailbox and the caller in X-Gateway-Caller."""
    mailbox, caller = request.match_info["user"], request.headers.get("X-Gateway-Caller", "nobody")
    seed = zlib.crc32(f"{caller} {mailbox}".encode())
    chosen = [LETTERS[(seed + index) % len(LETTERS)] for index in range(3)]
    listed = [
        {"id": f"{seed + index:012x}", "from": sender, "subject": subject, "snippet": snippet, "unread": index == 0}
        for index, (sender, subject, snippet) in enumerate(chosen)
    ]
    page = {"mailbox": mailbox, "caller": caller, "resultSizeEstimate": len(listed), "messages": listed}
    return web.json_response(page)


def gmail_backend() -> web.Application:
    gmail = json_backend("gmail-intelligence/1.9")
    gmail.router.add_get("/mailboxes/{user}/messages", messages)
    return gmail
