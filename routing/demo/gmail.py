"""Mailboxes: the messages depend on the caller, so that a response sent to the wrong caller would be visible."""

import zlib

from aiohttp import web

from routing.demo.controls import Controls
from routing.demo.gmail_api import GmailApi
from routing.demo.json_backend import json_backend
from routing.demo.mailboxes import LETTERS, Mailboxes


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
    controls, gmail = Controls(), json_backend("gmail-intelligence/1.9")
    controls.attach(gmail)
    GmailApi(Mailboxes(), controls).attach(gmail)
    gmail.router.add_get("/mailboxes/{user}/messages", messages)
    return gmail
