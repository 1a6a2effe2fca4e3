"""The check of who may use the dashboard's WebSockets."""

from typing import Any, Final

RECHECK_SECONDS: Final = 10.0
"""How long a socket stays open after its user has logged out elsewhere or is no longer staff."""
CLOSE_FORBIDDEN: Final = 4403
CLOSE_SESSION_ENDED: Final = 4401


def is_staff(user: Any) -> bool:
    return bool(user and user.is_active and user.is_staff)
