"""What members of staff may do: one rule for the admin, the dashboard, its WebSockets and the API."""

from enum import StrEnum
from typing import Any, Final

from channels.db import database_sync_to_async
from django.core.exceptions import PermissionDenied


class Right(StrEnum):
    """Django permissions. Each includes those before it."""

    VIEW = "routing.view_gateway"
    OPERATE = "routing.operate_gateway"
    CONFIGURE = "routing.configure_gateway"


GROUPS: Final = {Right.VIEW: "Viewer", Right.OPERATE: "Operator", Right.CONFIGURE: "Owner"}
"""The groups that a migration creates, by the right they have."""
_SUFFICIENT: Final = {
    Right.VIEW: (Right.VIEW, Right.OPERATE, Right.CONFIGURE),
    Right.OPERATE: (Right.OPERATE, Right.CONFIGURE),
    Right.CONFIGURE: (Right.CONFIGURE,),
}


def may(user: Any, right: Right) -> bool:
    """Whether the user is active staff with this right. May read the database."""
    return bool(user and user.is_active and user.is_staff and any(map(user.has_perm, _SUFFICIENT[right])))


may_async: Final = database_sync_to_async(may)


def require(user: Any, right: Right) -> None:
    """Raise PermissionDenied, with a text for the page, if the user does not have this right."""
    if not may(user, right):
        raise PermissionDenied(needed(right))


def needed(right: Right) -> str:
    """What a member of staff without the right is told."""
    verb = right.value.partition(".")[2].partition("_")[0]
    return f"Your account may not {verb} the gateway. A superuser can add you to the group {GROUPS[right]}."
