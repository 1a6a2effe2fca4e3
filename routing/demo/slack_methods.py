"""The methods of the demonstration's Slack Web API: pure functions of the workspace and the arguments."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from routing.demo.json_backend import JsonObject
from routing.demo.slack_workspace import (
    BOT,
    CREATED,
    SLACK_NAME,
    TEAM,
    TEAM_NAME,
    NameTaken,
    Workspace,
    WorkspaceFull,
)

Arguments = dict[str, str]
MethodResult = tuple[dict[str, Any], JsonObject | None]
"""A response without `ok`, and the event that reports a change."""
DEFAULT_LIMIT, MAX_LIMIT = 100, 1_000
UPLOADS: Final = "/upload/v1"
UPLOAD_URL: Final = "upload_url"


class SlackError(Exception):
    """`code` is the response's `error`."""

    def __init__(self, code: str, retry_after: int = 30, **details: str) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after = retry_after
        self.details = details


@dataclass(frozen=True)
class Method:
    """`per_minute` is its rate limit's tier; `seconds` its artificial latency."""

    run: Callable[[Workspace, Arguments], MethodResult]
    per_minute: int
    seconds: float = 0.12


def _list_channels(workspace: Workspace, arguments: Arguments) -> MethodResult:
    page, metadata = _page(list(workspace.channels.values()), arguments)
    return {"channels": page, "response_metadata": metadata}, None


def _channel_info(workspace: Workspace, arguments: Arguments) -> MethodResult:
    return {"channel": workspace.channels[_channel(workspace, arguments)]}, None


def _channel_members(workspace: Workspace, arguments: Arguments) -> MethodResult:
    page, metadata = _page(workspace.members(_channel(workspace, arguments)), arguments)
    return {"members": page, "response_metadata": metadata}, None


def _history(workspace: Workspace, arguments: Arguments) -> MethodResult:
    """Newest first, without the replies of threads."""
    channel = _channel(workspace, arguments)
    messages = [
        message for message in workspace.messages[channel] if message.get("thread_ts", message["ts"]) == message["ts"]
    ]
    page, metadata = _page(_between(messages, arguments)[::-1], arguments)
    body = {"messages": page, "has_more": bool(metadata["next_cursor"]), "pin_count": 0}
    return {**body, **({"response_metadata": metadata} if metadata["next_cursor"] else {})}, None


def _replies(workspace: Workspace, arguments: Arguments) -> MethodResult:
    """The first message of a thread, then its replies, oldest first."""
    channel, thread = _channel(workspace, arguments), arguments.get("ts", "")
    messages = [
        message for message in workspace.messages[channel] if thread in (message["ts"], message.get("thread_ts"))
    ]
    if not messages or messages[0]["ts"] != thread:
        raise SlackError("thread_not_found")
    page, metadata = _page(_between(messages, arguments), arguments)
    return {"messages": page, "has_more": bool(metadata["next_cursor"]), "response_metadata": metadata}, None


def _create_channel(workspace: Workspace, arguments: Arguments) -> MethodResult:
    name = arguments.get("name", "")
    if not SLACK_NAME.fullmatch(name):
        raise SlackError("invalid_name_specials" if name else "invalid_name_required")
    try:
        channel = workspace.add_channel(name)
    except NameTaken:
        raise SlackError("name_taken") from None
    except WorkspaceFull:
        raise SlackError("restricted_action") from None
    return {"channel": channel}, {"type": "channel_created", "channel": channel}


def _list_users(workspace: Workspace, arguments: Arguments) -> MethodResult:
    page, metadata = _page(list(workspace.users.values()), arguments)
    return {"members": page, "cache_ts": CREATED, "response_metadata": metadata}, None


def _user_info(workspace: Workspace, arguments: Arguments) -> MethodResult:
    user = workspace.users.get(arguments.get("user", ""))
    if user is None:
        raise SlackError("user_not_found")
    return {"user": user}, None


def _team_info(_: Workspace, __: Arguments) -> MethodResult:
    team = {"id": TEAM, "name": TEAM_NAME, "domain": "company", "email_domain": "company.example", "icon": {}}
    return {"team": team}, None


def _list_emoji(_: Workspace, __: Arguments) -> MethodResult:
    return {"emoji": {"shipit": "https://emoji.slack-edge.com/demo/shipit.png", "ship": "alias:shipit"}}, None


def _test_auth(_: Workspace, __: Arguments) -> MethodResult:
    identity = {"url": "https://company.slack.com/", "team": TEAM_NAME, "user": "gateway", "team_id": TEAM}
    return {**identity, "user_id": BOT, "bot_id": "B0GATEWAY", "is_enterprise_install": False}, None


def _post_message(workspace: Workspace, arguments: Arguments) -> MethodResult:
    channel, text = _channel(workspace, arguments), arguments.get("text", "")
    if not text:
        raise SlackError("no_text")
    if len(text) > 40_000:
        raise SlackError("msg_too_long")
    message = workspace.post(channel, BOT, text, arguments.get("thread_ts"))
    event = {**message, "channel": channel, "channel_type": "channel"}
    return {"channel": channel, "ts": message["ts"], "message": message}, event


def _change_message(workspace: Workspace, arguments: Arguments) -> MethodResult:
    channel, message = _own_message(workspace, arguments)
    former, text = dict(message), arguments.get("text", "")
    if not text:
        raise SlackError("no_text")
    message.update(text=text, edited={"user": BOT, "ts": message["ts"]})
    event = {"type": "message", "subtype": "message_changed", "channel": channel, "channel_type": "channel"}
    told = {**event, "message": message, "previous_message": former, "ts": message["ts"]}
    return {"channel": channel, "ts": message["ts"], "text": text, "message": message}, told


def _delete_message(workspace: Workspace, arguments: Arguments) -> MethodResult:
    channel, message = _own_message(workspace, arguments)
    workspace.messages[channel].remove(message)
    event = {"type": "message", "subtype": "message_deleted", "channel": channel, "channel_type": "channel"}
    told = {**event, "deleted_ts": message["ts"], "previous_message": message, "ts": message["ts"]}
    return {"channel": channel, "ts": message["ts"]}, told


def _add_reaction(workspace: Workspace, arguments: Arguments) -> MethodResult:
    channel, name = _channel(workspace, arguments), arguments.get("name", "")
    message = _message(workspace, channel, arguments.get("timestamp", ""))
    if not name:
        raise SlackError("invalid_name")
    reactions = message.setdefault("reactions", [])
    found = next((reaction for reaction in reactions if reaction["name"] == name), None)
    if found is not None:
        raise SlackError("already_reacted")
    reactions.append({"name": name, "users": [BOT], "count": 1})
    item = {"type": "message", "channel": channel, "ts": message["ts"]}
    return {}, {"type": "reaction_added", "user": BOT, "reaction": name, "item": item, "item_user": message["user"]}


def _begin_upload(workspace: Workspace, arguments: Arguments) -> MethodResult:
    """The address is completed by the server, which knows its own."""
    name, length = arguments.get("filename", ""), arguments.get("length", "")
    if not name or not length.isdecimal() or len(length) > 9:
        raise SlackError("invalid_arguments")
    key = workspace.files.begin(name, int(length))
    return {UPLOAD_URL: f"{UPLOADS}/{key}", "file_id": key}, None


def _complete_upload(workspace: Workspace, arguments: Arguments) -> MethodResult:
    channel = _channel(workspace, {"channel": arguments.get("channel_id", "")})
    try:
        titles = {str(file["id"]): str(file.get("title", "")) for file in json.loads(arguments.get("files", ""))}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise SlackError("invalid_arguments") from None
    files = workspace.files.take(titles, BOT)
    if files is None:
        raise SlackError("file_not_found")
    message = workspace.post(channel, BOT, arguments.get("initial_comment", ""), arguments.get("thread_ts"))
    message["files"] = files
    return {"files": files}, {**message, "channel": channel, "channel_type": "channel", "subtype": "file_share"}


def _search(workspace: Workspace, arguments: Arguments) -> MethodResult:
    query = arguments.get("query", "").lower()
    if not query:
        raise SlackError("no_query")
    matches = [
        {**message, "channel": {"id": channel, "name": workspace.channels[channel]["name"]}}
        for channel, messages in workspace.messages.items()
        for message in messages
        if query in message["text"].lower()
    ]
    paging = {"count": 20, "total": len(matches), "page": 1, "pages": 1}
    found = {"total": len(matches), "paging": paging, "matches": matches[:20]}
    return {"query": arguments["query"], "messages": found}, None


METHODS: Final = {
    "conversations.list": Method(_list_channels, 20, 0.32),
    "conversations.info": Method(_channel_info, 50),
    "conversations.members": Method(_channel_members, 100),
    "conversations.history": Method(_history, 50, 0.18),
    "conversations.replies": Method(_replies, 50, 0.18),
    "conversations.create": Method(_create_channel, 20),
    "users.list": Method(_list_users, 20, 0.25),
    "users.info": Method(_user_info, 100),
    "team.info": Method(_team_info, 50),
    "emoji.list": Method(_list_emoji, 20),
    "auth.test": Method(_test_auth, 100, 0.05),
    "chat.postMessage": Method(_post_message, 100),
    "chat.update": Method(_change_message, 50),
    "chat.delete": Method(_delete_message, 50),
    "reactions.add": Method(_add_reaction, 50),
    "files.getUploadURLExternal": Method(_begin_upload, 20),
    "files.completeUploadExternal": Method(_complete_upload, 20),
    "search.messages": Method(_search, 20, 0.3),
}


def _channel(workspace: Workspace, arguments: Arguments) -> str:
    """The id of the channel that is named by its id or as `#name`."""
    given = arguments.get("channel", "")
    if given in workspace.channels:
        return given
    for key, channel in workspace.channels.items():
        if given in (channel["name"], f"#{channel['name']}"):
            return key
    raise SlackError("channel_not_found")


def _message(workspace: Workspace, channel: str, ts: str) -> JsonObject:
    found = next((message for message in workspace.messages[channel] if message["ts"] == ts), None)
    if found is None:
        raise SlackError("message_not_found")
    return found


def _own_message(workspace: Workspace, arguments: Arguments) -> tuple[str, JsonObject]:
    """The channel and the message that the application has posted."""
    channel = _channel(workspace, arguments)
    message = _message(workspace, channel, arguments.get("ts", ""))
    if message["user"] != BOT:
        raise SlackError("cant_update_message")
    return channel, message


def _between(messages: Sequence[JsonObject], arguments: Arguments) -> list[JsonObject]:
    oldest, latest = arguments.get("oldest", "0"), arguments.get("latest", "9999999999")
    inclusive = arguments.get("inclusive", "").lower() in ("1", "true")
    try:
        begin, end = float(oldest), float(latest)
    except ValueError:
        raise SlackError("invalid_ts_oldest") from None
    found = [(float(message["ts"]), message) for message in messages]
    return [message for ts, message in found if begin < ts < end or (inclusive and ts in (begin, end))]


def _page(items: Sequence[Any], arguments: Arguments) -> tuple[list[Any], dict[str, str]]:
    """The page that begins at the cursor, with the next cursor; empty on the last page."""
    try:
        limit = int(arguments.get("limit") or DEFAULT_LIMIT)
        cursor = arguments.get("cursor", "")
        begin = int(b64decode(cursor, validate=True).decode().removeprefix("next:")) if cursor else 0
    except ValueError:
        raise SlackError("invalid_cursor" if arguments.get("cursor") else "invalid_limit") from None
    if not 1 <= limit <= MAX_LIMIT:
        raise SlackError("invalid_limit")
    end = begin + limit
    return list(items[begin:end]), {
        "next_cursor": b64encode(f"next:{end}".encode()).decode() if end < len(items) else ""
    }
