"""The event stream of the dashboard's events page, authenticated by session."""

import asyncio
import contextlib
from typing import Any

from channels.auth import get_user

from metrics.dashboard.staff import CLOSE_SESSION_ENDED, RECHECK_SECONDS, session_exists
from routing.caller import EVERY_SERVICE, Caller
from routing.errors import Forbidden
from routing.exchange import Exchange
from routing.pipeline import Gateway
from routing.realtime.consumer import EventsConsumer
from routing.realtime.handshake import same_origin
from routing.realtime.topics import OPERATORS_SCOPE
from routing.rights import Names, Right, is_any, services_async
from routing.views import scopes_for


class StaffEventsConsumer(EventsConsumer):
    """`/ws/dashboard/events/`: as `/ws/events/`, for staff who may view the gateway or some of its services.

    Browsers send session cookies with requests from any page, so the origin must be the gateway's own host,
    regardless of CORS_ORIGINS.
    """

    async def admit(self, gateway: Gateway, exchange: Exchange) -> None:  # noqa: ARG002 - checks the session instead
        user: Any = self.scope.get("user")
        self._names = await services_async(user, Right.VIEW)
        if not same_origin(exchange.request.headers) or not is_any(self._names):
            raise Forbidden("only staff who may view the gateway may connect, from the dashboard's own pages")
        exchange.caller = Caller(f"staff:{user.get_username()}", scopes=_scopes(self._names))

    async def connect(self) -> None:
        self._recheck: asyncio.Task[None] | None = None
        await super().connect()
        if self._session is not None:
            self._recheck = asyncio.create_task(self._recheck_session())

    async def disconnect(self, code: int) -> None:
        await super().disconnect(code)
        if self._recheck is not None:
            self._recheck.cancel()

    async def _recheck_session(self) -> None:
        """Close the socket when the user has logged out elsewhere, or may view other services than before."""
        session = self._session
        while session is not None and session.subscriber.closing is None:
            await asyncio.sleep(RECHECK_SECONDS)
            with contextlib.suppress(Exception):  # an unavailable database must not close the socket
                names = await services_async(await get_user(self.scope), Right.VIEW)
                if names != self._names or not is_any(names) or not await session_exists(self.scope):
                    session.subscriber.close(CLOSE_SESSION_ENDED, "the session has ended")


def _scopes(names: Names) -> frozenset[str]:
    """The gateway's own topics are not those of any service."""
    return frozenset({EVERY_SERVICE, OPERATORS_SCOPE}) if names is None else scopes_for(names)
