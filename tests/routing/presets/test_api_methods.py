"""The presets against the lists of methods that the APIs' own clients have.

A client's new version with a method that writes what a preset has stored fails here, until the preset or the list of
those that change nothing of it has it.
"""

import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from slack_sdk import WebClient

from routing.configuration.decode import decode_service
from routing.router.policy import RoutePolicy
from routing.router.table import RouteTable

SAFE = ("GET", "HEAD")


class ApiMethod(NamedTuple):
    name: str
    verb: str
    path: str


@cache
def table_of(preset: str) -> RouteTable:
    return RouteTable([decode_service("any", {"preset": preset}, lambda _name: "secret")])


def policy_of(preset: str, method: ApiMethod) -> RoutePolicy:
    table = table_of(preset)
    return table.within(table.services["any"], method.verb, method.path.encode()).policy


def is_stored(policy: RoutePolicy, verb: str) -> bool:
    return policy.cache is not None and policy.cache.ttl > 0 and verb in policy.cache.methods


def ends_something(policy: RoutePolicy) -> bool:
    return bool(policy.invalidates) or (policy.cache is not None and policy.cache.invalidate_own is not None)


def google_methods(document: str) -> list[ApiMethod]:
    """Those of a discovery document, with the paths of their uploads. Parameters are replaced by their names."""
    text = files("googleapiclient.discovery_cache").joinpath("documents", f"{document}.json").read_text()
    api = json.loads(text)

    def found(resources: dict[str, Any], parent: str) -> Iterator[ApiMethod]:
        for name, resource in resources.items():
            for own, method in resource.get("methods", {}).items():
                uploads = method.get("mediaUpload", {}).get("protocols", {}).values()
                for path in (f"/{api['servicePath']}{method['path']}", *(upload["path"] for upload in uploads)):
                    filled = re.sub(r"\{\+?(\w+)\}", r"\1", path)
                    yield ApiMethod(f"{parent}{name}.{own}", method["httpMethod"], filled)
            yield from found(resource.get("resources", {}), f"{parent}{name}.")

    return list(found(api["resources"], ""))


def slack_methods() -> list[ApiMethod]:
    """Those that slack_sdk's functions call, as their source has them."""
    calls = re.findall(r'api_call\(\s*"([\w.]+)"(.*?)(?=\n    def |\Z)', inspect.getsource(WebClient), re.DOTALL)
    return [ApiMethod(name, "GET" if '"GET"' in rest else "POST", f"/{name}") for name, rest in calls]


GOOGLE = {
    "gmail": (
        "gmail.v1",
        {
            "users.labels.list",
            "users.messages.attachments.get",
            "users.messages.get",
            "users.messages.list",
            "users.threads.get",
            "users.threads.list",
        },
    ),
    "google-calendar": (
        "calendar.v3",
        {
            "calendarList.list",
            "calendars.get",
            "colors.get",
            "events.get",
            "events.list",
            "freebusy.query",
            "settings.list",
        },
    ),
}
CHANGES_NOTHING_STORED = re.compile(r"users\.settings\..*|.*\.watch|channels\.stop|freebusy\.query")


@pytest.mark.parametrize("preset", GOOGLE)
def test_the_methods_of_google_that_are_stored_are_reads(preset: str) -> None:
    document, reads = GOOGLE[preset]
    methods = google_methods(document)
    assert {method.name for method in methods if is_stored(policy_of(preset, method), method.verb)} == reads


@pytest.mark.parametrize("preset", GOOGLE)
def test_each_write_to_google_ends_what_is_stored(preset: str) -> None:
    document, _ = GOOGLE[preset]
    writes = [method for method in google_methods(document) if method.verb not in SAFE]
    assert len(writes) > 20
    left = [
        method
        for method in writes
        if not ends_something(policy_of(preset, method)) and not CHANGES_NOTHING_STORED.fullmatch(method.name)
    ]
    assert left == []


def test_a_refused_channel_is_no_refused_credential() -> None:
    """Google responds 401 to a channel whose address it does not accept."""
    refusal = json.dumps({"error": {"errors": [{"reason": "push.webhookUrlUnauthorized"}]}}).encode()
    watches = [method for method in google_methods("calendar.v3") if method.name.endswith(".watch")]
    assert len(watches) == 4
    for method in watches:
        outcome = policy_of("google-calendar", method).outcome
        assert outcome is not None
        assert str(outcome.classify(401, [(b"content-type", b"application/json")], refusal)) == "callers", method


SLACK_READS = {
    "conversations.history",
    "conversations.info",
    "conversations.list",
    "conversations.members",
    "conversations.replies",
    "emoji.list",
    "team.info",
    "users.info",
    "users.list",
}
SLACK_FAMILIES = re.compile(
    r"(admin\.)?(conversations|emoji|users|team|teams\.settings)\.\w+|admin\.teams\.create|"
    r"(chat|reactions|pins)\.\w+|files\.(remote\.)?\w+"
)
SLACK_OTHERS = {
    "admin.conversations.getConversationPrefs", "admin.conversations.getCustomRetention",
    "admin.conversations.getTeams", "admin.conversations.lookup", "admin.conversations.removeCustomRetention",
    "admin.conversations.search", "admin.conversations.setCustomRetention", "admin.emoji.list",
    "admin.teams.create", "admin.teams.settings.info", "admin.teams.settings.setDefaultChannels",
    "admin.users.getExpiration", "admin.users.list", "chat.deleteScheduledMessage", "chat.getPermalink",
    "chat.postEphemeral", "chat.scheduleMessage", "conversations.declineSharedInvite",
    "conversations.inviteShared", "conversations.listConnectInvites", "files.getUploadURLExternal",
    "files.info", "files.list", "files.remote.info", "files.remote.list", "files.upload", "pins.list",
    "reactions.get", "reactions.list", "team.accessLogs", "team.billableInfo", "team.integrationLogs",
    "users.conversations", "users.getPresence", "users.identity", "users.lookupByEmail", "users.setPresence",
}  # fmt: skip
"""Of the families above: reads that are not stored, and writes that change nothing of what is."""


SLACK_WRITES_BY_GET = {
    "admin.emoji.add", "admin.emoji.addAlias", "admin.emoji.remove", "admin.emoji.rename",
    "admin.teams.settings.setIcon", "files.remote.share", "users.deletePhoto",
}  # fmt: skip
"""Of slack_sdk, while other clients use POST. A GET ends nothing, as HTTP has it: the ttl does, or an event."""


def test_the_methods_of_slack_that_are_stored_are_reads() -> None:
    methods = slack_methods()
    assert len(methods) > 300
    assert {method.name for method in methods if is_stored(policy_of("slack", method), method.verb)} == SLACK_READS


def test_each_write_to_slack_ends_what_is_stored() -> None:
    left = {
        method.name
        for method in slack_methods()
        if SLACK_FAMILIES.fullmatch(method.name) and not ends_something(policy_of("slack", method))
    }
    assert left - SLACK_READS == SLACK_OTHERS | SLACK_WRITES_BY_GET
    by_post = {ApiMethod(name, "POST", f"/{name}") for name in SLACK_WRITES_BY_GET}
    assert [method for method in by_post if not ends_something(policy_of("slack", method))] == []


def hubspot_methods() -> set[ApiMethod]:
    """Those of the CRM that the classes of hubspot-api-client call. Parameters are replaced by their names."""
    calls = {
        call
        for path in Path(str(files("hubspot.crm"))).rglob("api/*.py")
        for call in re.findall(r'call_api\(\s*"([^"]+)",\s*"([A-Z]+)"', path.read_text())
    }
    return {ApiMethod(path, verb, re.sub(r"\{(\w+)\}", r"\1", path)) for path, verb in calls}


HUBSPOT_STORED = re.compile(r"/crm/v\d/(objects|associations|properties|pipelines)/.*|/crm-object-schemas/.*")
HUBSPOT_OTHERS = re.compile(
    r".*/(batch/read|search)|.*/labels(/.*)?|.*/associations/(definitions|usage)/.*|.*/splits/.*"
)
"""Reads by POST, and writes that change nothing of what is stored."""


def test_the_methods_of_hubspot_that_are_stored_are_reads() -> None:
    stored = {method for method in hubspot_methods() if is_stored(policy_of("hubspot", method), method.verb)}
    assert len(stored) > 60
    assert {method.path.rpartition("/")[2] for method in stored if method.verb != "GET"} == {"search"}


def test_each_write_to_hubspot_ends_what_is_stored() -> None:
    writes = [method for method in hubspot_methods() if method.verb not in SAFE and HUBSPOT_STORED.match(method.path)]
    assert len(writes) > 150
    left = [
        method
        for method in writes
        if not ends_something(policy_of("hubspot", method)) and not HUBSPOT_OTHERS.fullmatch(method.path)
    ]
    assert left == []
