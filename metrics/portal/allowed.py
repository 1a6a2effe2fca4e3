"""What a consumer's members may let their keys do: never more than its plan, or what staff have granted."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from django.utils import timezone

from metrics.portal.access import MEMBER_PREFIX
from metrics.runtime_access import running
from routing.caller import EVERY_SERVICE, GATEWAY_SCOPES
from routing.models import ApiKey, Consumer
from routing.router.table import Service

_ANY: Final[frozenset[str]] = frozenset()


class Allowed(NamedTuple):
    """`services` by name, with the methods that the plan includes: none for any. `scopes` are those that staff have
    granted beyond the names of services, for services that require them. `tenant` is the one to which all of staff's
    unrestricted keys belong; empty if they do not agree.
    """

    services: Mapping[str, frozenset[str]]
    scopes: frozenset[str]
    tenant: str = ""

    def key_scopes(self, chosen: Iterable[str], table: Mapping[str, Service]) -> list[str]:
        """The scopes of a key for these services."""
        names = sorted(set(chosen) & self.services.keys())
        required = {scope for name in names for scope in required_scopes(table[name])}
        return [*names, *sorted(required & self.scopes - set(names))]


def allowed_of(consumer: Consumer) -> Allowed:
    """The services that the plan lists or, without a list, those of the keys that staff have issued to the consumer.

    A plan without a list leaves it to each credential which services it may use. Members must not decide that.
    """
    live = running().gateway.live
    subscription = live.keys.consumers.subscription(consumer.pk)
    listed = None if subscription is None else subscription.methods
    keys = list(_unrestricted(consumer))
    granted, tenants = _granted(keys), {key.tenant for key in keys}
    if listed is not None:
        services = {name: listed[name] for name in live.table.services if name in listed}
    else:
        services = {name: _ANY for name in live.table.services if name in granted or EVERY_SERVICE in granted}
    scopes = granted - {EVERY_SERVICE} - live.table.services.keys()
    return Allowed(services, scopes, tenants.pop() if len(tenants) == 1 else "")


def required_scopes(service: Service) -> frozenset[str]:
    """The scopes that all of the service, or some of its routes, require beside its name."""
    return frozenset(service.policy.scopes).union(*(route.policy.scopes for route in service.routes))


def may_rotate(key: ApiKey) -> bool:
    """Whether members may have the key's next secret: not if staff let it operate the gateway."""
    return not set(key.scopes or ()) & set(GATEWAY_SCOPES)


def _unrestricted(consumer: Consumer) -> Iterator[ApiKey]:
    """Staff's keys without restrictions: a member's key would not have those of the others."""
    now = timezone.now()
    for key in consumer.keys.filter(revoked_at=None).exclude(created_by__startswith=MEMBER_PREFIX):
        if key.state(now) == "active" and key.methods is None and key.ip is None and not key.limits:
            yield key


def _granted(keys: Iterable[ApiKey]) -> frozenset[str]:
    """What these keys may do, beside operating the gateway."""
    found: set[str] = set()
    for key in keys:
        found.update([EVERY_SERVICE] if key.scopes is None else map(str, key.scopes))
    return frozenset(found.difference(GATEWAY_SCOPES))
