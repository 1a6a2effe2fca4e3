"""What may be subscribed to, by whom, and what its subscribers hear: pure rules over the table of routes.

    service:<name>                    its circuit, and that all of its cache was taken back
    tag:<tag>, tag:<service>:<tag>    that what carries a tag was taken back
    resource:/api/v1/<service>/...    the same, of all tags that this path's answers carry
    caller:<id>, tenant:<name>        for one caller, or for one tenant's
    anything else                     free: every caller may read it

Who may use a service may hear of it. Where answers are a caller's own, a tag that names somebody by a path's parameter
is for that caller alone: another's mailbox is not even known to have changed.

Where a parameter names no caller, as in /orders/{id}, nothing in the path says whose the answer is. There the backend
has the word: a resource is heard by those to whom it gave it, and who have it in their own part of the cache. They
learn that their own answer is void, which asking again would show them.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from resilience.cache.key import key as digest_of
from resilience.cache.key import scope_id
from resilience.cache.policy import CALLER_FIELDS, Scope
from routing.caller import Caller
from routing.errors import GatewayError
from routing.realtime.limits import MAX_TOPIC_LENGTH
from routing.router import paths
from routing.router.paths import PREFIX
from routing.router.policy import RoutePolicy
from routing.router.table import Match, RouteTable, Service
from routing.router.tags import fields, filled

_FREE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+~-]*")
_PARAMETER: Final = re.compile(r"\{([^{}]*)\}")


class TopicRefused(Exception):
    """`code` is `bad_topic` or `forbidden`; which of several reasons is nobody's business."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def publication_key(topic: str) -> str:
    """The key under which what is published on `topic` reaches its subscribers."""
    return f"pub|{topic}"


def invalidation_key(service: str, tag: str) -> str:
    """The key of an invalidation."""
    return f"inv|{service}|{tag}"


def subscription_keys(topic: str, caller: Caller, table: RouteTable, *, is_cached: bool = False) -> tuple[str, ...]:
    """All that a subscriber of `topic` hears; `is_held`: has its `own_answer`. Raises TopicRefused."""
    kind, rest = _parsed(topic)
    if kind == "service":
        found = _of_service(rest, caller, table)
    elif kind == "tag":
        found = _of_tag(rest, caller, table)
    elif kind == "resource":
        found = _of_resource(rest, caller, table, is_cached=is_cached)
    else:
        _check_owner(kind, rest, caller)
        found = set()
    return (publication_key(topic), *sorted(found))


def check_publishable(topic: str, caller: Caller, table: RouteTable) -> None:
    """Raises TopicRefused unless `caller` may publish here: of services, only of those it may use."""
    kind, rest = _parsed(topic)
    if kind in ("caller", "tenant", ""):
        return
    if kind == "tag":
        named = [service for service in table.services.values() if _declares(service, rest)]
    else:
        name = rest if kind == "service" else rest.removeprefix(PREFIX.decode()).partition("/")[0]
        named = [table.services[name]] if name in table.services else []
    if not any(_may_use(caller, service, service.policy) for service in named):
        raise _forbidden()


def _parsed(topic: str) -> tuple[str, str]:
    if not topic or len(topic) > MAX_TOPIC_LENGTH or not topic.isprintable():
        raise TopicRefused("bad_topic", f"a topic is 1 to {MAX_TOPIC_LENGTH} printable characters")
    kind, colon, rest = topic.partition(":")
    if colon and rest and kind in ("service", "tag", "resource", "caller", "tenant"):
        return kind, rest
    if _FREE.fullmatch(topic) is None or kind in ("service", "tag", "resource", "caller", "tenant"):
        raise TopicRefused("bad_topic", "not the form of a topic")
    return "", topic


def _check_owner(kind: str, name: str, caller: Caller) -> None:
    if (kind == "caller" and name != caller.id) or (kind == "tenant" and name != caller.tenant):
        raise _forbidden()


def _of_service(name: str, caller: Caller, table: RouteTable) -> set[str]:
    service = table.services.get(name)
    if service is None or not _may_use(caller, service, service.policy):
        raise _forbidden()
    return {invalidation_key(name, name)}


def _of_tag(text: str, caller: Caller, table: RouteTable) -> set[str]:
    """The tag in every service that declares it and lets this caller in; or, with a service's name first, in that."""
    found = {
        key
        for service in table.services.values()
        if _may_read_tag(service, text, caller)
        for key in (invalidation_key(service.name, text), invalidation_key(service.name, service.name))
    }
    name, _, tag = text.partition(":")
    service = table.services.get(name)
    if service is not None and tag and (_may_read_tag(service, tag, caller) or _is_open(service, caller)):
        found |= {invalidation_key(name, tag), invalidation_key(name, name)}
    if not found:
        raise _forbidden()
    return found


def _of_resource(text: str, caller: Caller, table: RouteTable, *, is_cached: bool) -> set[str]:
    match = _routed(text, caller, table)
    if not (is_cached or _names_nobody_else(match, caller)):
        raise _forbidden()
    name, tags = match.service.name, match.policy.cache.tags if match.policy.cache else ()
    return {invalidation_key(name, tag) for tag in (*filled(tags, match, caller), name)}


def cached_response_key(topic: str, caller: Caller, table: RouteTable) -> tuple[str, str] | None:
    """The service and key under which this caller's own answer would be, where having it decides; else None."""
    kind, _, text = topic.partition(":")
    try:
        match = _routed(text, caller, table) if kind == "resource" else None
    except TopicRefused:
        return None
    if match is None or match.policy.cache is None or _names_nobody_else(match, caller):
        return None
    name, whose = match.service.name, scope_id(match.policy.cache.scope, caller.id, caller.tenant)
    query = text.partition("?")[2].encode()
    return name, digest_of(name, whose, PREFIX + name.encode() + match.path, query)


def _routed(text: str, caller: Caller, table: RouteTable) -> Match:
    """Where a GET of this resource would go. Raises TopicRefused."""
    place = paths.split(text.partition("?")[0].encode())
    if place is None or not place.service:
        raise TopicRefused("bad_topic", f"a resource's path begins with {PREFIX.decode()}<service>")
    try:
        match = table.match(place.service, "GET", place.rest)
    except GatewayError:
        raise _forbidden() from None
    if not _may_use(caller, match.service, match.policy):
        raise _forbidden()
    return match


def _names_nobody_else(match: Match, caller: Caller) -> bool:
    tags = match.policy.cache.tags if match.policy.cache else ()
    named = {parameter for tag in tags for parameter in _PARAMETER.findall(tag)}
    return all(_is_own(one, value, match.policy, caller) for one, value in match.params if one in named)


def _may_read_tag(service: Service, tag: str, caller: Caller) -> bool:
    if tag == service.name:
        return _may_use(caller, service, service.policy)
    return any(
        _may_use(caller, service, policy) and all(_is_own(one, value, policy, caller) for one, value in values)
        for policy, values in _uses(service, tag)
    )


def _declares(service: Service, tag: str) -> bool:
    within = tag.removeprefix(f"{service.name}:")
    return any(True for _ in _uses(service, tag)) or any(True for _ in _uses(service, within)) or tag == service.name


def _uses(service: Service, tag: str) -> Iterator[tuple[RoutePolicy, list[tuple[str, str]]]]:
    """The policies under which answers carry `tag`, each with its parameters and the values they then have."""
    for policy in (service.policy, *(route.policy for route in service.routes)):
        for pattern in policy.cache.tags if policy.cache else ():
            if "{" not in pattern:
                if pattern == tag:
                    yield policy, []
            elif form := _expression(pattern).fullmatch(tag):
                yield policy, list(zip(_PARAMETER.findall(pattern), form.groups(), strict=True))


@lru_cache(maxsize=10_000)
def _expression(pattern: str) -> re.Pattern[str]:
    """Kept, since a subscriber may ask for a hundred tags of a thousand routes at once."""
    parts = _PARAMETER.split(pattern)
    return re.compile("(.+)".join(re.escape(part) for part in parts[::2]))


def _is_open(service: Service, caller: Caller) -> bool:
    """Whether tags that only the backend's answers declare may be heard of: where all callers share its answers."""
    cache = service.policy.cache
    return cache is not None and cache.scope is Scope.SHARED and _may_use(caller, service, service.policy)


def _is_own(parameter: str, value: str, policy: RoutePolicy, caller: Caller) -> bool:
    """Whether what a parameter names is this caller's, in the scope in which answers are kept."""
    if parameter in CALLER_FIELDS:
        return value == fields(caller)[parameter]
    scope = policy.cache.scope if policy.cache else Scope.USER
    return scope is Scope.SHARED or value in _names(caller, scope)


def _names(caller: Caller, scope: Scope) -> Iterable[str]:
    own = (caller.id, caller.id.partition(":")[2])
    return (*own, caller.tenant) if scope is Scope.TENANT and caller.tenant else own


def _may_use(caller: Caller, service: Service, policy: RoutePolicy) -> bool:
    return caller.may_use(service.name, policy.scopes)


def _forbidden() -> TopicRefused:
    return TopicRefused("forbidden", "this caller may not read or publish this topic")
