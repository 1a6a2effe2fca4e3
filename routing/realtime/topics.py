"""Topics: who may subscribe to them, and which events their subscribers receive. Pure rules over the route table.

    service:<name>                    circuit changes of a service, and invalidations of its whole cache
    tag:<tag>, tag:<service>:<tag>    invalidations of cached responses that carry the tag
    resource:/api/v1/<service>/...    the same, for all tags of the responses of this path
    caller:<id>, tenant:<name>        events for one caller, or for one tenant's callers
    gateway:keys, gateway:quotas      API keys that expire soon, and quotas that are used up, for operators
    anything else                     free: every caller may subscribe, but to topics that begin as a webhook's only one
                                      that may use the webhook's service

A caller may subscribe to what it may call. Where responses are private to a caller, a tag that names a caller in a
path parameter is for that caller alone: nobody learns that another one's mailbox has changed.

In a path such as /orders/{id} the parameter does not name a caller, so the path does not tell whose resource it is.
There the backend decides: a caller may subscribe if the backend has given it the resource, and the response is in its
own part of the cache. It then learns that its own response is stale, as it would by requesting it again.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote_from_bytes

from resilience.cache.policy import CALLER_FIELDS, QUERY_PLACEHOLDER, Scope, named_in, names_in
from resilience.cache.query_key import query_values
from routing.caller import Caller
from routing.errors import GatewayError
from routing.realtime.limits import MAX_TOPIC_LENGTH
from routing.router import paths, spelling
from routing.router.access import may_use
from routing.router.paths import PREFIX
from routing.router.policy import RoutePolicy
from routing.router.table import Match, RouteTable, Service
from routing.router.tags import fields, filled, parameter_values

_KINDS: Final = ("service", "tag", "resource", "caller", "tenant", "gateway")
GATEWAY_KEYS: Final = "gateway:keys"
GATEWAY_QUOTAS: Final = "gateway:quotas"
OPERATORS_SCOPE: Final = "metrics:read"
"""The scope of those who may subscribe to the gateway's own topics."""
_FREE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+~-]*")


class TopicRefused(Exception):
    """`code` is `bad_topic` or `forbidden`. Which of several reasons applies is not disclosed."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def publication_key(topic: str, table: RouteTable) -> str:
    """The key of events published on `topic`: one for all spellings of a resource's path."""
    kind, _, text = topic.partition(":")
    service, path, query = _split_resource(text, table) if kind == "resource" else (None, b"", "")
    if service is None:
        return f"pub|{topic}"
    normalized = quote_from_bytes(spelling.normalized(path, service.paths))
    return f"pub|resource:{PREFIX.decode()}{service.name}{normalized}{query}"


def invalidation_key(service: str, tag: str) -> str:
    """The key of invalidations of `tag`. The service's name is the tag of its whole cache."""
    return f"inv|{service}|{tag}"


def subscription_keys(topic: str, caller: Caller, table: RouteTable, *, is_cached: bool = False) -> tuple[str, ...]:
    """The keys of all events that a subscriber of `topic` receives. Raises TopicRefused.

    `is_cached`: the response that `own_cached_response` locates is in the cache.
    """
    kind, rest = _parse_topic(topic)
    if kind == "service":
        invalidations = _service_keys(rest, caller, table)
    elif kind == "tag":
        invalidations = _tag_keys(rest, caller, table)
    elif kind == "resource":
        invalidations = _resource_keys(rest, caller, table, is_cached=is_cached)
    else:
        _check_owner(kind, rest, caller)
        if not kind:
            _check_webhooks(topic, caller, table)
        invalidations = set()
    return (publication_key(topic, table), *sorted(invalidations))


def check_publishable(topic: str, caller: Caller, table: RouteTable) -> None:
    """Raise TopicRefused unless `caller` may publish on `topic`. A service's topics are for those whose scopes
    include it, also where anybody may call it.
    """
    kind, rest = _parse_topic(topic)
    if kind == "gateway":
        raise _forbidden()
    if kind in ("caller", "tenant", ""):
        return
    if kind == "tag":
        services = [service for service in table.services.values() if _declares(service, rest)]
    else:
        service = table.services.get(rest) if kind == "service" else _split_resource(rest, table)[0]
        services = [] if service is None else [service]
    if not any(caller.may_use(service.name, service.policy.scopes) for service in services):
        raise _forbidden()


def own_cached_response(topic: str, caller: Caller, table: RouteTable) -> tuple[Match, bytes] | None:
    """The resource's route and query, where the caller's own cached response decides; None if the path alone does."""
    kind, _, text = topic.partition(":")
    try:
        match = _route(text, caller, table) if kind == "resource" else None
    except TopicRefused:
        return None
    query = text.partition("?")[2].encode()
    if match is None or match.policy.cache is None or _names_only_caller(match, caller, query):
        return None
    return match, query


def _parse_topic(topic: str) -> tuple[str, str]:
    """The kind and what follows its colon; the kind of free topics is empty."""
    if not topic or len(topic) > MAX_TOPIC_LENGTH or not topic.isprintable():
        raise TopicRefused("bad_topic", f"a topic must have 1 to {MAX_TOPIC_LENGTH} printable characters")
    kind, colon, rest = topic.partition(":")
    if colon and rest and kind in _KINDS:
        return kind, rest
    if _FREE.fullmatch(topic) is None or kind in _KINDS:
        raise TopicRefused("bad_topic", "the topic is malformed")
    return "", topic


def _check_owner(kind: str, name: str, caller: Caller) -> None:
    if kind == "gateway":
        if not caller.has_scope(OPERATORS_SCOPE):
            raise _forbidden()
        if f"{kind}:{name}" not in (GATEWAY_KEYS, GATEWAY_QUOTAS):
            raise TopicRefused("bad_topic", f"the gateway's topics are {GATEWAY_KEYS} and {GATEWAY_QUOTAS}")
    if (kind == "caller" and name != caller.id) or (kind == "tenant" and name != caller.tenant):
        raise _forbidden()


def _check_webhooks(topic: str, caller: Caller, table: RouteTable) -> None:
    """What webhooks publish is for those who may use their services."""
    for webhook in table.webhooks.values():
        if webhook.publish is not None and webhook.service and topic.startswith(webhook.publish.prefix):
            service = table.services.get(webhook.service)
            if service is None or not caller.may_use(service.name, service.policy.scopes):
                raise _forbidden()


def _service_keys(name: str, caller: Caller, table: RouteTable) -> set[str]:
    service = table.services.get(name)
    if service is None or not may_use(caller, service, service.policy):
        raise _forbidden()
    return {invalidation_key(name, name)}


def _tag_keys(text: str, caller: Caller, table: RouteTable) -> set[str]:
    """The tag in every service that declares it and that the caller may use; `<service>:<tag>`, in that service."""
    found = {
        key
        for service in table.services.values()
        if _may_read_tag(service, text, caller)
        for key in (invalidation_key(service.name, text), invalidation_key(service.name, service.name))
    }
    name, _, tag = text.partition(":")
    service = table.services.get(name)
    if service is not None and tag and (_may_read_tag(service, tag, caller) or _has_open_tags(service, caller)):
        found |= {invalidation_key(name, tag), invalidation_key(name, name)}
    if not found:
        raise _forbidden()
    return found


def _resource_keys(text: str, caller: Caller, table: RouteTable, *, is_cached: bool) -> set[str]:
    match, query = _route(text, caller, table), text.partition("?")[2].encode()
    if not (is_cached or _names_only_caller(match, caller, query)):
        raise _forbidden()
    name, tags = match.service.name, match.policy.cache.tags if match.policy.cache else ()
    return {invalidation_key(name, tag) for tag in (*filled(tags, match, caller, query), name)}


def _split_resource(text: str, table: RouteTable) -> tuple[Service | None, bytes, str]:
    """A resource's service, its path within that, and its query with the question mark. None if there is no service."""
    path, mark, query = text.partition("?")
    split = paths.split(path.encode())
    service = table.services.get(split.service) if split else None
    return service, split.rest if split else b"", mark + query


def _route(text: str, caller: Caller, table: RouteTable) -> Match:
    """The route of a GET of this resource. Raises TopicRefused."""
    path = paths.split(text.partition("?")[0].encode())
    if path is None or not path.service:
        raise TopicRefused("bad_topic", f"the path of a resource begins with {PREFIX.decode()}<service>")
    try:
        match = table.match(path.service, "GET", path.rest)
    except GatewayError:
        raise _forbidden() from None
    if not may_use(caller, match.service, match.policy):
        raise _forbidden()
    return match


def _names_only_caller(match: Match, caller: Caller, query: bytes) -> bool:
    """Whether every parameter of the path or the query that is used in a tag names this caller."""
    tags = match.policy.cache.tags if match.policy.cache else ()
    used = {parameter for tag in tags for parameter in names_in(tag)}
    values = query_values(query, named_in(tags, QUERY_PLACEHOLDER)) if query else {}
    named = [pair for pair in match.params if pair[0] in used]
    named += [(f"{QUERY_PLACEHOLDER}{name}", value) for name, found in values.items() for value in found]
    return all(_names_caller(name, value, match.policy, caller) for name, value in named)


def _may_read_tag(service: Service, tag: str, caller: Caller) -> bool:
    if tag == service.name:
        return may_use(caller, service, service.policy)
    return any(
        may_use(caller, service, policy)
        and all(_names_caller(name, value, policy, caller) for name, value in parameters)
        for policy, parameters in _uses(service, tag)
    )


def _declares(service: Service, tag: str) -> bool:
    unqualified = tag.removeprefix(f"{service.name}:")
    return any(True for use in (tag, unqualified) for _ in _uses(service, use)) or tag == service.name


def _uses(service: Service, tag: str) -> Iterator[tuple[RoutePolicy, list[tuple[str, str]]]]:
    """The policies whose responses carry `tag`, each with the names and the possible values of the parameters in it."""
    for policy in (service.policy, *(route.policy for route in service.routes)):
        for pattern in policy.cache.tags if policy.cache else ():
            if "{" not in pattern:
                if pattern == tag:
                    yield policy, []
            elif (values := parameter_values(pattern, tag)) is not None:
                yield policy, values


def _has_open_tags(service: Service, caller: Caller) -> bool:
    """Whether tags that only the backend's responses declare may be subscribed to: if all callers share them."""
    cache = service.policy.cache
    return cache is not None and cache.scope is Scope.SHARED and may_use(caller, service, service.policy)


def _names_caller(parameter: str, value: str, policy: RoutePolicy, caller: Caller) -> bool:
    """Whether a parameter's value names this caller, or its tenant, in the scope in which responses are cached."""
    if parameter in CALLER_FIELDS:
        return value == fields(caller)[parameter]
    scope = policy.cache.scope if policy.cache else Scope.USER
    return scope is Scope.SHARED or value in _names_of(caller, scope)


def _names_of(caller: Caller, scope: Scope) -> Iterable[str]:
    return (*caller.names, caller.tenant) if scope is Scope.TENANT and caller.tenant else caller.names


def _forbidden() -> TopicRefused:
    return TopicRefused("forbidden", "this caller may not read or publish this topic")
