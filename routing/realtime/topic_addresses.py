"""Which of a topic's events a client's address may receive: those of services that it may call. Pure rules."""

from routing.errors import GatewayError
from routing.networks import permits
from routing.realtime.topics import TopicRefused
from routing.router import paths
from routing.router.policy import RoutePolicy
from routing.router.table import RouteTable, Service


def permitted_keys(topic: str, keys: tuple[str, ...], client: str, table: RouteTable) -> tuple[str, ...]:
    """The keys of `topics.subscription_keys` without the invalidations of services that this address may not call.

    Raises TopicRefused if none of its services may be called.
    """
    kept = tuple(key for key in keys if _is_permitted(key, client, table))
    had, has = (any(key.startswith("inv|") for key in found) for found in (keys, kept))
    if (had and not has) or not _may_read(topic, client, table):
        raise TopicRefused("forbidden", "this caller may not read or publish this topic")
    return kept


def check_publisher(topic: str, client: str, table: RouteTable) -> None:
    """Raise TopicRefused if the topic is one of a service that this address may not call."""
    if not _may_read(topic, client, table):
        raise TopicRefused("forbidden", "this caller may not read or publish this topic")


def _is_permitted(key: str, client: str, table: RouteTable) -> bool:
    """A tag's invalidations are withheld where any route that declares tags may not be called."""
    kind, name, tag = (*key.split("|", 2), "", "")[:3]
    service = table.services.get(name) if kind == "inv" else None
    if service is None:
        return True
    if not permits(service.policy.ip, client):
        return False
    return tag == name or all(permits(policy.ip, client) for policy in _tagging(service))


def _tagging(service: Service) -> list[RoutePolicy]:
    return [route.policy for route in service.routes if route.policy.cache is not None and route.policy.cache.tags]


def _may_read(topic: str, client: str, table: RouteTable) -> bool:
    kind, _, rest = topic.partition(":")
    if kind == "service":
        service = table.services.get(rest)
        return service is None or permits(service.policy.ip, client)
    path = paths.split(rest.partition("?")[0].encode()) if kind == "resource" else None
    if path is None:
        return True
    try:
        match = table.match(path.service, "GET", path.rest)
    except GatewayError:
        return True  # refused for another reason
    return permits(match.policy.ip, client)
