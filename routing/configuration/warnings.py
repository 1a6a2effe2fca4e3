"""Warnings about a valid configuration that may not mean what its author meant."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from resilience.cache.policy import Scope
from routing.caller import EVERY_SERVICE, GATEWAY_SCOPES
from routing.configuration.faults import Fault, Path
from routing.configuration.unreachable_routes import unreachable_routes
from routing.configuration.webhook_values import OWN_TOPICS
from routing.configuration.webhooks import decode_each_webhook
from routing.networks import AddressPolicy
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import Service
from routing.tls.policy import TlsPolicy

UNKNOWN_CREDENTIALS = (
    "anyone may call this, and responses are cached: name the header fields by which the service identifies its "
    "own users in 'cache.credentials' ([] if there are none), or set 'cache: {scope: shared}' or 'cache: off'"
)


CACHED_POSTS = (
    "every POST to a path without a route of its own is answered from the cache, and never sent again while that is "
    "fresh: name POST in 'cache.methods' of the routes that only read"
)


OPEN_TOPIC = (
    "every caller may subscribe to this topic and reads the deliveries: name the 'service' whose callers may, or set "
    "'data: none'"
)


UNKNOWN_SCOPE = "no service is called {}, and none requires such a scope: it permits nothing"


NO_CONTENT = "a response with the status {} has no body: 'body' is not sent"


NO_WEBSOCKETS = "WebSockets have no fallback: {} does not accept them (websocket: true)"


NO_HTTPS = "no target of the service is https, so that these settings have no effect"


def webhook_warnings(items: Mapping[str, Any]) -> Iterator[Fault]:
    """One for each webhook of a document that shows its deliveries to every caller."""
    for webhook in decode_each_webhook(items, lambda _: "").values():
        publish = webhook.publish
        is_free = publish is not None and publish.prefix.partition(":")[0] not in OWN_TOPICS
        if publish is not None and is_free and not webhook.service and publish.data != "none":
            yield Fault(("webhooks", webhook.name, "publish"), OPEN_TOPIC)


def scope_warnings(services: Iterable[Service], consumers: Mapping[str, Any]) -> Iterator[Fault]:
    """One for each identity of a consumer with a scope that permits nothing."""
    found = {EVERY_SERVICE, *GATEWAY_SCOPES}
    for service in services:
        found |= {service.name, *(scope for _, policy in _policies(service) for scope in policy.scopes)}
    for name, item in consumers.items():
        for index, identity in enumerate(item.get("identities") or ()):
            unknown = [scope for scope in identity.get("scopes") or () if scope not in found]
            if unknown:
                path: Path = ("consumers", name, "identities", index, "scopes")
                yield Fault(path, UNKNOWN_SCOPE.format(", ".join(map(repr, unknown))))


def warnings(services: Iterable[Service]) -> Iterator[Fault]:
    """At most one warning of each kind for each service: at the service, or at the first route that it applies to."""
    found = {service.name: service for service in services}
    for service in found.values():
        yield from _fallback_warnings(service, found)
        yield from _content_warnings(service)
        path = _first_unclear(service)
        if path is not None:
            yield Fault(path, UNKNOWN_CREDENTIALS)
        if service.policy.cache is not None and "POST" in service.policy.cache.methods:
            yield Fault(("services", service.name, "cache", "methods"), CACHED_POSTS)
        yield from _network_warnings(service)
        yield from unreachable_routes(service)
        if service.tls not in (None, TlsPolicy()) and not any(target.is_https for target in service.targets):
            yield Fault(("services", service.name, "tls"), NO_HTTPS)


def _policies(service: Service) -> list[tuple[Path, RoutePolicy]]:
    """The settings of a service and of its routes, and where they are."""
    path: Path = ("services", service.name)
    return [
        (path, service.policy),
        *(((*path, "routes", index), route.policy) for index, route in enumerate(service.routes)),
    ]


def _fallback_warnings(service: Service, services: Mapping[str, Service]) -> Iterator[Fault]:
    """The first fallback that cannot stand in for the WebSockets of what names it."""
    for path, policy in _policies(service):
        other = services.get(policy.fallback.service or "") if policy.fallback and policy.websocket else None
        if other is not None and not any(each.websocket for _, each in _policies(other)):
            yield Fault((*path, "fallback"), NO_WEBSOCKETS.format(other.name))
            return


def _content_warnings(service: Service) -> Iterator[Fault]:
    """The first fallback whose body is not sent."""
    for path, policy in _policies(service):
        fallback = policy.fallback
        if fallback is not None and fallback.body is not None and not fallback.has_content:
            yield Fault((*path, "fallback", "body"), NO_CONTENT.format(fallback.status))
            return


def _network_warnings(service: Service) -> Iterator[Fault]:
    """Lists of addresses that permit nobody, or everybody."""
    inherited = service.policy.ip
    for path, policy in _policies(service):
        if len(path) > 2 and policy.ip == inherited:
            continue
        for addresses in policy.ip:
            yield from (Fault((*path, "ip", key), text) for key, text in _of_addresses(addresses))


def _of_addresses(addresses: AddressPolicy) -> Iterator[tuple[str, str]]:
    allow, deny = addresses.allow, addresses.deny
    for version, every in ((4, "0.0.0.0/0"), (6, "::/0")):
        if deny is not None and deny.has_every(version):
            yield "deny", f"{every} denies every IPv{version} address, whatever 'allow' says: leave it out"
    if allow is not None and allow.has_every(4) and not allow.has_every(6):
        yield "allow", "0.0.0.0/0 allows every IPv4 address but no IPv6 address: leave 'allow' out to allow all"
    if allow is not None and deny is not None and deny.covers(allow):
        yield "deny", "every address of 'allow' is denied: nobody may call"


def _first_unclear(service: Service) -> Path | None:
    """Where callers whom the gateway does not authenticate may have credentials that it does not know."""
    path: Path = ("services", service.name)
    if _is_unclear(service.policy):
        return path
    return next(
        ((*path, "routes", index) for index, route in enumerate(service.routes) if _is_unclear(route.policy)), None
    )


def _is_unclear(policy: RoutePolicy) -> bool:
    cache = policy.cache
    if policy.auth not in (Auth.OPTIONAL, Auth.NONE) or cache is None:
        return False
    return cache.scope is not Scope.SHARED and cache.credentials is None
