"""The Slack Web API, at `/api/conversations.list` and `/conversations.list` (docs.slack.dev/reference/methods).

Errors are `200 {"ok": false, "error": ...}`, except for 429. Changes are reported as signed events.
"""

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from resilience.durations import MINUTE
from routing.demo.controls import Controls, fields, reply
from routing.demo.slack_methods import METHODS, UPLOAD_URL, Arguments, Method, SlackError
from routing.demo.slack_workspace import BOT, TEAM, Workspace
from routing.demo.webhooks import slack_fields

SCOPES: Final = "channels:read,channels:history,chat:write,users:read,team:read,emoji:read,search:read"
HEADERS: Final = {
    "Cache-Control": "private, no-cache, no-store, must-revalidate",
    "Expires": "Mon, 26 Jul 1997 05:00:00 GMT",
    "Pragma": "no-cache",
    "Vary": "Accept-Encoding",
    "X-OAuth-Scopes": SCOPES,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "x-slack-req-id, retry-after",
}
RATE_LIMITED: Final = "ratelimited"
UNTYPED: Final = ("", "application/octet-stream")


class SlackApi:
    def __init__(self, workspace: Workspace, controls: Controls) -> None:
        self._workspace = workspace
        self._controls = controls

    async def call(self, request: web.Request) -> web.Response:
        name = request.match_info["method"]
        self._controls.calls[name] += 1
        headers = {**HEADERS, "X-Slack-Req-Id": uuid.uuid4().hex}
        try:
            arguments = await _arguments(request)
            method = METHODS.get(name)
            if method is None:
                raise SlackError("unknown_method", req_method=name)
            self._check_token(_token(request, arguments))
            self._check_limit(name, method, arguments)
            await self._controls.wait(method.seconds)
            body, event = method.run(self._workspace, arguments)
        except SlackError as error:
            body = {"ok": False, "error": error.code, **error.details}
            if error.code == RATE_LIMITED:
                return reply(body, 429, {**headers, "Retry-After": str(error.retry_after)})
            return reply(body, headers=headers)
        if event is not None:
            self.report(event)
        if UPLOAD_URL in body:
            body[UPLOAD_URL] = f"{request.scheme}://{request.host}{body[UPLOAD_URL]}"
        return reply({"ok": True, **body}, headers=headers)

    async def upload(self, request: web.Request) -> web.Response:
        """The content of a file, which needs no token: the address is the proof."""
        content = await request.read()
        if not self._workspace.files.receive(request.match_info["file"], len(content)):
            return web.Response(status=404, text="unknown file")
        return web.Response(text=f"OK - {len(content)}")

    def report(self, event: Mapping[str, Any]) -> None:
        """Send an event to the webhook, if one is set (docs.slack.dev/apis/events-api)."""
        target = self._controls.settings.webhook
        if target is None:
            return
        now, secret = time.time(), target.secret
        envelope = {
            "token": "deprecated",
            "team_id": TEAM,
            "api_app_id": "A0DEMO0001",
            "event": {**event, "event_ts": event.get("ts", f"{now:.6f}")},
            "type": "event_callback",
            "event_id": f"Ev{uuid.uuid4().hex[:9].upper()}",
            "event_time": int(now),
            "authorizations": [{"team_id": TEAM, "user_id": BOT, "is_bot": True, "is_enterprise_install": False}],
            "is_ext_shared_channel": False,
        }
        body = json.dumps(envelope).encode()
        self._controls.sender.send(target.url, body, lambda attempt: slack_fields(secret, body, attempt))

    def _check_token(self, token: str | None) -> None:
        required = self._controls.settings.token
        if token is None:
            if required is not None:
                raise SlackError("not_authed")
        elif "expired" in token:
            raise SlackError("token_expired")
        elif token != required if required is not None else not token.startswith(("xoxb-", "xoxp-")):
            raise SlackError("invalid_auth")

    def _check_limit(self, name: str, method: Method, arguments: Arguments) -> None:
        error = self._controls.settings.errors.get(name)
        if error is not None:
            raise SlackError(error)
        limits = [(name, method.per_minute, MINUTE)]
        if name == "chat.postMessage":
            limits.append((f"{name} {arguments.get('channel', '')}", 1, 1))
        for key, limit, seconds in limits:
            remaining, wait = self._controls.use(key, limit, seconds)
            if remaining < 0:
                raise SlackError(RATE_LIMITED, retry_after=int(wait) + 1)


async def _arguments(request: web.Request) -> Arguments:
    """The arguments of a query, a form or a JSON object; those of the body win."""
    arguments = dict(request.query)
    if request.content_type == "application/json":
        try:
            body = await request.json()
        except ValueError:
            raise SlackError("invalid_json") from None
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        arguments |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()}
    elif request.content_type.startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        arguments |= await fields(request)
    elif request.can_read_body and request.content_type not in UNTYPED:
        raise SlackError("invalid_post_type")
    return arguments


def _token(request: web.Request, arguments: Arguments) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else arguments.get("token")
