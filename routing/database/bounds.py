"""What an author may not change who has rights for some services only: one rule for every entry point to the
configuration.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from django.db import transaction

from routing.configuration import fallbacks
from routing.configuration.headers import reference
from routing.configuration.literals import service_fields
from routing.database.document_diff import document_diff
from routing.database.locks import lock_configuration
from routing.database.trial import present_document
from routing.errors import Forbidden
from routing.models import Route, Service, own_hosts
from routing.rights import Names
from routing.router.hosts import domain_of

T = TypeVar("T")


def check_bounds(structure: dict[str, Any], before: dict[str, Any], names: frozenset[str]) -> None:
    """Raise Forbidden if the document has more than these services, or gives one a secret that it does not have, a
    fallback to another service, the audience of another one's tokens, or a host at which the gateway itself may be
    reached.

    Otherwise who may change one service could send the secrets of all others to a backend of their own, tokens by which
    its callers are known to another backend, what another service answers to the callers of this one, or what people
    and programs send to the gateway to that backend.
    """
    services = structure.get("services") or {}
    foreign = sorted(set(services) - names)
    sections = sorted(key for key, value in structure.items() if key not in ("version", "services") and value)
    if foreign or sections:
        raise Forbidden(f"you may not write {', '.join([*foreign, *sections])}")
    for name, item in services.items():
        known = before["services"].get(name)
        added = _references(name, item) - _references(name, known)
        if added:
            raise Forbidden(f"you may not give {name} another secret: {', '.join(sorted(added))}")
        if others := _fallbacks(item) - _fallbacks(known) - names:
            raise Forbidden(f"you may not let {name} fall back to {', '.join(sorted(others))}")
        if (audiences := _audiences(item) - _audiences(known)) and (taken := audiences & _others_audiences(names)):
            raise Forbidden(f"you may not give {name} the audience of another service: {', '.join(sorted(taken))}")
        if hosts := sorted(filter(own_hosts.is_own, _hosts(item) - _hosts(known))):
            raise Forbidden(f"you may not give {name} a host of the gateway itself: {', '.join(hosts)}")


def bounded(change: Callable[[], T], names: Names) -> T:
    """What `change` returns, which may change the settings of these services and nothing else; None: everything.

    Raises Forbidden, without a change.
    """
    if names is None:
        return change()
    with transaction.atomic():
        lock_configuration()
        before = present_document()
        result = change()
        after = present_document()
        diff = document_diff(before, after)
        if diff.created or diff.deleted:
            raise Forbidden("what is added and deleted is up to those who may configure the gateway")
        if foreign := sorted(set(diff.changed) - names):
            raise Forbidden(f"you may not write {', '.join(foreign)}")
        changed = {name: after["services"][name] for name in diff.changed}
        check_bounds({"services": changed}, before, names)
    return result


def _references(name: str, item: Any) -> set[str]:
    found = (reference(field.value) for field in service_fields(name, item))
    return {each.name for each in found if each is not None}


def _hosts(item: Any) -> set[str]:
    hosts = item.get("hosts") if isinstance(item, dict) else None
    return {domain_of(str(host)) for host in hosts} if isinstance(hosts, list) else set()


def _audiences(item: Any) -> set[str]:
    """Whom the tokens are for that a service and its routes send about their callers."""
    if not isinstance(item, dict):
        return set()
    routes = item.get("routes")
    parts = (item, *(routes if isinstance(routes, list) else ()))
    return _named_audiences(part.get("identity") for part in parts if isinstance(part, dict))


def _others_audiences(names: frozenset[str]) -> set[str]:
    """Those of services that the author may not see."""
    found = Service.objects.exclude(name__in=names).values_list("identity", flat=True)
    return _named_audiences(
        [*found, *Route.objects.exclude(service__name__in=names).values_list("identity", flat=True)]
    )


def _named_audiences(identities: Iterable[Any]) -> set[str]:
    return {str(each["audience"]) for each in identities if isinstance(each, dict) and each.get("audience")}


def _fallbacks(item: Any) -> set[str]:
    return set(fallbacks.named(item)) if isinstance(item, dict) else set()
