"""What members of staff may do, and for which services: one rule for the admin, the dashboard, its WebSockets and the
API.

A right holds for the whole gateway, by Django's permissions, or for some services, by roles for services. What belongs
to no service needs the right for the whole gateway.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from channels.db import database_sync_to_async
from django.apps import apps
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.db.models import Q


class Right(StrEnum):
    """Django permissions. Each includes those before it."""

    VIEW = "routing.view_gateway"
    OPERATE = "routing.operate_gateway"
    CONFIGURE = "routing.configure_gateway"


GROUPS: Final = {Right.VIEW: "Viewer", Right.OPERATE: "Operator", Right.CONFIGURE: "Owner"}
"""The groups that a migration creates, by the right they have; roles for services have the same names."""
_SUFFICIENT: Final = {
    Right.VIEW: (Right.VIEW, Right.OPERATE, Right.CONFIGURE),
    Right.OPERATE: (Right.OPERATE, Right.CONFIGURE),
    Right.CONFIGURE: (Right.CONFIGURE,),
}
Names = frozenset[str] | None
"""Services by their names; None for all of them, and for what belongs to no service."""
_NONE: Final[frozenset[str]] = frozenset()
_KNOWN_GRANTS: Final = "_service_grants"
"""Where a user's grants are kept, as Django keeps its permissions: each request loads its user again."""


class Grant(NamedTuple):
    """A role for some services: those that are named, and those that have all of the labels, if there are any."""

    role: str
    services: frozenset[str]
    labels: Mapping[str, str]

    def covers(self, name: str, labels: Mapping[str, str]) -> bool:
        return name in self.services or (bool(self.labels) and self.labels.items() <= labels.items())


def granted(grants: Iterable[Grant], right: Right, known: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """The services for which the grants give the right. `known` has the labels of all services, by name."""
    roles = {GROUPS[each] for each in _SUFFICIENT[right]}
    sufficient = [grant for grant in grants if grant.role in roles]
    named = _NONE.union(*(grant.services for grant in sufficient))
    return named | {name for name, labels in known.items() if any(each.covers(name, labels) for each in sufficient)}


def within(service: str, names: Names) -> bool:
    """Whether a service is among these. An empty name is that of no service."""
    return names is None or service in names


def is_any(names: Names) -> bool:
    """Whether these are any services at all."""
    return names is None or bool(names)


def services(user: Any, right: Right) -> Names:
    """The services for which the user has the right; None if it holds for the whole gateway. May read the database."""
    if _may_everywhere(user, right):
        return None
    if not _is_staff(user):
        return _NONE
    grants = _grants(user)
    known = _known_labels() if any(grant.labels for grant in grants) else {}
    return granted(grants, right, known)


services_async: Final = database_sync_to_async(services)


def may(user: Any, right: Right, service: str | None = None) -> bool:
    """Whether the user is active staff with this right, for the service; without one, for the whole gateway."""
    return _may_everywhere(user, right) if service is None else within(service, services(user, right))


def require(user: Any, right: Right, service: str | None = None) -> None:
    """Raise PermissionDenied, with a text for the page, if the user does not have this right."""
    if not may(user, right, service):
        raise PermissionDenied(needed(right, service))


def needed(right: Right, service: str | None = None) -> str:
    """The message for a member of staff without the right."""
    verb = right.value.partition(".")[2].partition("_")[0]
    if service is not None:
        return f"Your account may not {verb} this service. A superuser can give you the role {GROUPS[right]} for it."
    return f"Your account may not {verb} the gateway. A superuser can add you to the group {GROUPS[right]}."


def _is_staff(user: Any) -> bool:
    return bool(user and user.is_active and user.is_staff)


def _may_everywhere(user: Any, right: Right) -> bool:
    return _is_staff(user) and any(map(user.has_perm, _SUFFICIENT[right]))


def _grants(user: Any) -> tuple[Grant, ...]:
    """Those of the user and of their groups; none while the database is unavailable."""
    known: tuple[Grant, ...] | None = getattr(user, _KNOWN_GRANTS, None)
    if known is None:
        holder = Q(user=user.pk)
        if hasattr(user, "groups"):  # a project's own model may have none
            holder |= Q(group__in=user.groups.values("pk"))
        # By its name: models are above this rule.
        rows = apps.get_model("routing", "ServiceRole")._default_manager.filter(holder)
        try:
            known = tuple(Grant(row.role, frozenset(row.services), row.labels) for row in rows)
        except (OperationalError, InterfaceError):
            return ()
        setattr(user, _KNOWN_GRANTS, known)
    return known


def _known_labels() -> dict[str, dict[str, str]]:
    rows = apps.get_model("routing", "Service")._default_manager.exclude(labels=None).values_list("name", "labels")
    return {name: labels for name, labels in rows if isinstance(labels, dict)}
