"""How the dashboard's WebSockets are closed when their user may no longer use them."""

from typing import Any, Final

from channels.db import database_sync_to_async

RECHECK_SECONDS: Final = 10.0
"""How long a socket stays open after its session has ended or its user may no longer view the gateway."""
CLOSE_FORBIDDEN: Final = 4403
CLOSE_SESSION_ENDED: Final = 4401


async def session_exists(scope: Any) -> bool:
    """Whether the session of the handshake still exists: the one that Channels has loaded does not show its end."""
    return bool(await _exists(scope["session"]))


@database_sync_to_async
def _exists(session: Any) -> bool:
    return session.session_key is not None and bool(session.exists(session.session_key))
