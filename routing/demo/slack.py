"""A workspace with channels and messages; listing channels is slow, as in the real API."""

import asyncio
import re
from typing import Final

from aiohttp import web

from routing.demo.json_backend import json_backend, json_body

LIST_SECONDS: Final = 0.32
MAX_CHANNELS: Final = 200
SLACK_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")


def _channel(number: int, name: str, topic: str, members: int) -> dict[str, object]:
    return {
        "id": f"C0{number:07d}",
        "name": name,
        "is_private": False,
        "topic": {"value": topic},
        "num_members": members,
    }


MESSAGES: Final = {
    "C08410213": [
        ("U03NADIA", "1771934402.114900", "Deploy of billing 4.18 is through, error rate is flat."),
        ("U07TOMAS", "1771934561.220100", "Thanks! Closing the change window."),
    ],
    "C08410377": [
        ("U01IMANI", "1771926010.003300", "INC-2041: checkout p95 above 2 s in eu-west since 09:38."),
        ("U07TOMAS", "1771926188.771200", "Connection pool of the pricing database is full; raising it now."),
        ("U01IMANI", "1771927003.480000", "p95 is back to 310 ms. Post-mortem on Thursday."),
    ],
}


class Workspace:
    """The channels, in memory: new ones are lost on restart."""

    def __init__(self) -> None:
        self.channels = [
            _channel(8410213, "deployments", "What went out, and when", 64),
            _channel(8410377, "incidents", "One thread per incident; the runbooks are pinned", 118),
            _channel(8410402, "sales-emea", "Pipeline reviews on Mondays at 10:00", 37),
            _channel(8410566, "design-critique", "Bring work in progress", 22),
        ]

    async def listing(self, _: web.Request) -> web.Response:
        await asyncio.sleep(LIST_SECONDS)
        page = {"ok": True, "channels": self.channels, "response_metadata": {"next_cursor": ""}}
        return web.json_response(page, headers={"X-OAuth-Scopes": "channels:read,channels:history"})

    async def add(self, request: web.Request) -> web.Response:
        name = (await json_body(request)).get("name")
        if not isinstance(name, str) or not SLACK_NAME.fullmatch(name):
            raise web.HTTPBadRequest(reason="name must consist of at most 80 lower-case letters, digits, - and _")
        if any(channel["name"] == name for channel in self.channels):
            raise web.HTTPConflict(reason="name_taken")
        if len(self.channels) >= MAX_CHANNELS:
            raise web.HTTPForbidden(reason="restricted_action: the workspace is full")
        channel = _channel(8411000 + len(self.channels), name, "", 1)
        self.channels.append(channel)
        location = f"/channels/{channel['id']}"
        return web.json_response({"ok": True, "channel": channel}, status=201, headers={"Location": location})

    async def messages(self, request: web.Request) -> web.Response:
        channel_id = request.match_info["id"]
        if all(channel["id"] != channel_id for channel in self.channels):
            raise web.HTTPNotFound(reason="channel_not_found")
        messages = [
            {"type": "message", "user": user, "ts": ts, "text": text} for user, ts, text in MESSAGES.get(channel_id, ())
        ]
        return web.json_response({"ok": True, "messages": messages, "has_more": False})


def slack_backend() -> web.Application:
    workspace, slack = Workspace(), json_backend("slack-intelligence/2.3")
    slack.router.add_get("/channels", workspace.listing)
    slack.router.add_post("/channels", workspace.add)
    slack.router.add_get("/channels/{id}/messages", workspace.messages)
    return slack
