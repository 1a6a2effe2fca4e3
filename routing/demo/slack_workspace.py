"""The state of the demonstration's Slack workspace, in memory: what is added is lost on restart."""

import re
from typing import Any, Final

from routing.demo.json_backend import JsonObject
from routing.demo.slack_files import Files

TEAM: Final = "T0DEMO0001"
TEAM_NAME: Final = "Company"
BOT: Final = "U0GATEWAY"
MAX_CHANNELS: Final = 200
MAX_MESSAGES: Final = 1_000
"""The most messages of a channel; the oldest are dropped."""
SLACK_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
CREATED: Final = 1_771_900_000

PEOPLE: Final = {
    "U03NADIA": "Nadia Haddad",
    "U07TOMAS": "Tomás Varga",
    "U01IMANI": "Imani Mwangi",
    **{
        f"U1{number:02d}{name.split()[0].upper()}": name
        for number, name in enumerate(
            (
                "Aiko Mori", "Bram Visser", "Carla Conti", "Dmitri Orlov", "Elif Kaya", "Farid Rahimi", "Grace Boateng",
                "Hugo Lindqvist", "Ines Ferreira", "Jonas Weber", "Kavya Iyer", "Liam Byrne", "Mei Chen", "Noor Aziz",
                "Oskar Nilsen", "Priya Nair", "Quentin Roux",
            )
        )
    },
}  # fmt: skip
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


class NameTaken(Exception):
    """A channel has this name already."""


class WorkspaceFull(Exception):
    """There are MAX_CHANNELS channels."""


class Workspace:
    """`channels` by id; `messages` of each, oldest first."""

    def __init__(self) -> None:
        described = (
            _channel(8410213, "deployments", "What went out, and when", 64),
            _channel(8410377, "incidents", "One thread per incident; the runbooks are pinned", 118),
            _channel(8410402, "sales-emea", "Pipeline reviews on Mondays at 10:00", 37),
            _channel(8410566, "design-critique", "Bring work in progress", 22),
        )
        self.channels: dict[str, dict[str, Any]] = {channel["id"]: channel for channel in described}
        self.users = {key: _user(key, name) for key, name in PEOPLE.items()}
        self.messages: dict[str, list[JsonObject]] = {
            channel: [_message(*row) for row in MESSAGES.get(channel, ())] for channel in self.channels
        }
        self.files = Files()
        self._now = CREATED + 40_000

    def members(self, channel: str) -> list[str]:
        """Everyone is in every channel, as far as the demonstration knows them."""
        return [*self.users, BOT][: self.channels[channel]["num_members"]]

    def add_channel(self, name: str) -> dict[str, Any]:
        """Raises NameTaken or WorkspaceFull."""
        if any(channel["name"] == name for channel in self.channels.values()):
            raise NameTaken
        if len(self.channels) >= MAX_CHANNELS:
            raise WorkspaceFull
        channel = _channel(8411000 + len(self.channels), name, "", 1)
        self.channels[channel["id"]] = channel
        self.messages[channel["id"]] = []
        return channel

    def post(self, channel: str, user: str, text: str, thread: str | None = None) -> JsonObject:
        """The new message. A reply is also counted in the message that begins its thread."""
        self._now += 60
        message = _message(user, f"{self._now}.{len(self.messages[channel]):06d}", text)
        if thread is not None:
            message["thread_ts"] = thread
            for parent in self.messages[channel]:
                if parent["ts"] == thread:
                    count = parent.get("reply_count", 0) + 1
                    parent.update(thread_ts=thread, reply_count=count, latest_reply=message["ts"])
        self.messages[channel] = [*self.messages[channel], message][-MAX_MESSAGES:]
        return message


def _channel(number: int, name: str, topic: str, members: int) -> dict[str, Any]:
    return {
        "id": f"C0{number:07d}",
        "name": name,
        "name_normalized": name,
        "is_channel": True,
        "is_group": False,
        "is_im": False,
        "is_mpim": False,
        "is_private": False,
        "is_archived": False,
        "is_general": False,
        "is_shared": False,
        "is_member": True,
        "created": CREATED,
        "creator": "U03NADIA",
        "topic": {"value": topic, "creator": "U03NADIA", "last_set": CREATED},
        "purpose": {"value": "", "creator": "", "last_set": 0},
        "previous_names": [],
        "num_members": members,
    }


def _user(key: str, name: str) -> dict[str, Any]:
    login = name.split(maxsplit=1)[0].lower()
    return {
        "id": key,
        "team_id": TEAM,
        "name": login,
        "real_name": name,
        "deleted": False,
        "tz": "Europe/Berlin",
        "profile": {"real_name": name, "display_name": login, "email": f"{login}@company.example"},
        "is_admin": key == "U03NADIA",
        "is_bot": False,
        "updated": CREATED,
    }


def _message(user: str, ts: str, text: str) -> JsonObject:
    return {"type": "message", "user": user, "ts": ts, "text": text}
