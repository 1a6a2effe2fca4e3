"""A Slack workspace: the Web API, and a small API of its own for channels. Listing channels is slow, as in Slack."""

from typing import Final

from aiohttp import web

from routing.demo.controls import Controls
from routing.demo.json_backend import json_backend, json_body
from routing.demo.slack_api import SlackApi
from routing.demo.slack_methods import UPLOADS
from routing.demo.slack_workspace import SLACK_NAME, NameTaken, Workspace, WorkspaceFull

LIST_SECONDS: Final = 0.32


class Channels:
    """`/channels` and `/channels/{id}/messages`."""

    def __init__(self, workspace: Workspace, controls: Controls, api: SlackApi) -> None:
        self._workspace = workspace
        self._controls = controls
        self._api = api

    async def listing(self, _: web.Request) -> web.Response:
        await self._controls.wait(LIST_SECONDS)
        channels = list(self._workspace.channels.values())
        page = {"ok": True, "channels": channels, "response_metadata": {"next_cursor": ""}}
        return web.json_response(page, headers={"X-OAuth-Scopes": "channels:read,channels:history"})

    async def add(self, request: web.Request) -> web.Response:
        name = (await json_body(request)).get("name")
        if not isinstance(name, str) or not SLACK_NAME.fullmatch(name):
            raise web.HTTPBadRequest(reason="name must consist of at most 80 lower-case letters, digits, - and _")
        try:
            channel = self._workspace.add_channel(name)
        except NameTaken:
            raise web.HTTPConflict(reason="name_taken") from None
        except WorkspaceFull:
            raise web.HTTPForbidden(reason="restricted_action: the workspace is full") from None
        self._api.report({"type": "channel_created", "channel": channel})
        location = f"/channels/{channel['id']}"
        return web.json_response({"ok": True, "channel": channel}, status=201, headers={"Location": location})

    async def messages(self, request: web.Request) -> web.Response:
        messages = self._workspace.messages.get(request.match_info["id"])
        if messages is None:
            raise web.HTTPNotFound(reason="channel_not_found")
        return web.json_response({"ok": True, "messages": messages, "has_more": False})


def slack_backend() -> web.Application:
    workspace, controls, slack = Workspace(), Controls(), json_backend("slack-intelligence/2.3")
    api = SlackApi(workspace, controls)
    channels = Channels(workspace, controls, api)
    controls.attach(slack)
    slack.router.add_get("/channels", channels.listing)
    slack.router.add_post("/channels", channels.add)
    slack.router.add_get("/channels/{id}/messages", channels.messages)
    slack.router.add_post(UPLOADS + "/{file}", api.upload)
    for path in ("/api/{method}", r"/{method:[a-z]+\.[a-zA-Z.]+}"):
        slack.router.add_get(path, api.call)
        slack.router.add_post(path, api.call)
    return slack
