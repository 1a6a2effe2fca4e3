"""Drafts of changes: shown as a difference of the configuration, and applied if nobody has changed it since."""

import copy
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from django.db import transaction

from metrics.advice.records import ChangedSetting, Configuration, Draft
from metrics.audit import record_operation
from routing.configuration.decode import VERSION
from routing.configuration.document import Document, dump_value
from routing.configuration_errors import PreconditionFailed
from routing.database import revisions
from routing.database.actor import acting_as
from routing.database.api_keys import by_prefix, revoke
from routing.database.config_file import WriteOptions, Written, digest, stored_document, write_document
from routing.database.locks import lock_configuration
from routing.models import ApiKey
from routing.rights import Names

ACTION: Final = "configuration.write"
NOTE: Final = "applied advice"


class UnknownDraft(LookupError):
    """The draft names nothing that the configuration has."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a unified diff, and what the author may not have meant. `tag` names the version that is changed."""

    lines: tuple[str, ...]
    warnings: tuple[str, ...]
    tag: str


def is_possible(draft: Draft, document: Configuration) -> bool:
    """Whether the configuration itself has what the draft changes: a preset's route is not in it."""
    try:
        edited = _edited(draft, document)
    except UnknownDraft:
        return False
    if draft.service:
        return bool(edited["services"][draft.service] != document["services"][draft.service])
    return edited != document


def preview(draft: Draft) -> Preview:
    """Raises UnknownDraft, and ConfigurationError and GatewayErrors of a change that is not valid."""
    if draft.change is ChangedSetting.REVOKE:
        key = _key(draft)
        before, after = ({"key": key.prefix, "name": key.name, "state": state} for state in ("active", "revoked"))
        return Preview(lines=_diff(before, after), warnings=(), tag=_key_tag(key))
    names = _names(draft)
    before = stored_document(names)
    written = _write(draft, before, names, dry_run=True)
    return Preview(lines=_diff(before, written.document), warnings=written.warnings, tag=_tag(draft, before))


def apply(draft: Draft, tag: str, actor: str) -> None:
    """Make the change on behalf of `actor`, who may configure the gateway.

    Raises PreconditionFailed if what it changes is no longer what `tag` names, and what `preview` raises.
    """
    with acting_as(actor, NOTE), transaction.atomic():
        if draft.change is ChangedSetting.REVOKE:
            key = _key(draft)
            _require(_key_tag(key) == tag)
            revoke([key])
            return
        lock_configuration()
        names = _names(draft)
        before = stored_document(names)
        _require(_tag(draft, before) == tag)
        written = _write(draft, before, names, dry_run=False)
        record_operation(actor, ACTION, draft.service, after=written.diff.to_document(with_values=False))


def _require(is_same: bool) -> None:
    if not is_same:
        raise PreconditionFailed("it was changed since: look at the draft again")


def _write(draft: Draft, before: Configuration, names: Names, *, dry_run: bool) -> Written:
    edited = _edited(draft, before)
    options = WriteOptions(dry_run=dry_run)
    return write_document(Document(edited, {}), lambda _: None, options, names, (), is_bound=False)


def _names(draft: Draft) -> Names:
    """The service alone, or all of the configuration for a plan."""
    return frozenset({draft.service}) if draft.service else None


def _tag(draft: Draft, document: Configuration) -> str:
    if draft.service:
        return digest(document["services"].get(draft.service))
    return digest((document.get("plans") or {}).get(draft.plan))


def _diff(before: Any, after: Any) -> tuple[str, ...]:
    return tuple(revisions.diff_lines(dump_value(before), dump_value(after)))


def _edited(draft: Draft, document: Configuration) -> Configuration:
    """The document with the change, of the service alone if it is one of a service. Raises UnknownDraft."""
    if draft.change is ChangedSetting.QUOTA:
        return _with_quota(draft, document)
    item = document["services"].get(draft.service)
    if item is None:
        raise UnknownDraft(f"there is no service {draft.service!r}")
    edited = copy.deepcopy(item)
    edit = _EDITS[draft.change]
    if not edit(edited, draft):
        raise UnknownDraft("the configuration has no such setting: it may be that of a preset")
    return {"version": VERSION, "services": {draft.service: edited}}


def _with_quota(draft: Draft, document: Configuration) -> Configuration:
    edited = copy.deepcopy(document)
    plan = (edited.get("plans") or {}).get(draft.plan) or {}
    found = [each for each in plan.get("quota") or () if str(each.get("per")) == draft.per]
    if not found or not draft.value.isdecimal():
        raise UnknownDraft(f"the plan {draft.plan!r} has no such quota")
    found[0]["amount"] = int(draft.value)
    return edited


def _places(item: dict[str, Any], draft: Draft) -> list[dict[str, Any]]:
    """The settings that the draft is about: the service's own, or those of the routes with this path."""
    if not draft.route:
        return [item]
    return [route for route in item.get("routes") or () if route["path"] == draft.route]


def _set_ttl(item: dict[str, Any], draft: Draft) -> bool:
    """A route without a section of its own has the service's, beneath the new one."""
    places = [place for place in _places(item, draft) if isinstance(place.get("cache", {}), dict)]
    for place in places:
        place["cache"] = {**place.get("cache", {}), "ttl": draft.value}
    return bool(places)


def _disable(item: dict[str, Any], draft: Draft) -> bool:
    places = _places(item, draft) if draft.route else []
    for place in places:
        place["enabled"] = False
    return bool(places)


def _set_rate(item: dict[str, Any], draft: Draft) -> bool:
    places = [place for place in _places(item, draft) if place.get("rate_limit")]
    for place in places:
        place["rate_limit"] = draft.value
    return bool(places)


def _set_breaker(item: dict[str, Any], draft: Draft) -> bool:
    changed = {"failure_threshold": draft.failure_threshold, "window": draft.window, "open_for": draft.open_for}
    item["breaker"] = {**(item.get("breaker") or {}), **{name: value for name, value in changed.items() if value}}
    return True


_EDITS: Final[dict[ChangedSetting, Callable[[dict[str, Any], Draft], bool]]] = {
    ChangedSetting.TTL: _set_ttl,
    ChangedSetting.DISABLE: _disable,
    ChangedSetting.RATE: _set_rate,
    ChangedSetting.BREAKER: _set_breaker,
}


def _key(draft: Draft) -> ApiKey:
    key = by_prefix(draft.key)
    if key is None or key.revoked_at is not None:
        raise UnknownDraft("there is no active API key with this prefix")
    return key


def _key_tag(key: ApiKey) -> str:
    """Changes when the key is used: then it is not unused."""
    used: datetime | None = key.last_used_at
    return digest([key.prefix, key.digest, used.isoformat() if used else None])
