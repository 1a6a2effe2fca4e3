"""How the dashboard's WebSockets are closed when their user may no longer use them."""

from typing import Final

RECHECK_SECONDS: Final = 10.0
"""How long a socket stays open after its user has logged out elsewhere or may no longer view the gateway."""
CLOSE_FORBIDDEN: Final = 4403
CLOSE_SESSION_ENDED: Final = 4401
