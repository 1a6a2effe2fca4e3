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
from routing.rights import Right, may_async


class StaffEventsConsumer(EventsConsumer):
    """`/ws/dashboard/events/`: as `/ws/events/`, for staff who may view the gateway.

    Browsers send session cookies with requests from any page, so the origin must be the gateway's own host,
    regardless of CORS_ORIGINS.
    """

    async def admit(self, gateway: Gateway, exchange: Exchange) -> None:  # noqa: ARG002 - checks the session instead
        user: Any = self.scope.get("user")
        if not same_origin(exchange.request.headers) or not await may_async(user, Right.VIEW):
            raise Forbidden("only staff who may view the gateway may connect, from the dashboard's own pages")
        exchange.caller = Caller(f"staff:{user.get_username()}", scopes=frozenset({EVERY_SERVICE, OPERATORS_SCOPE}))

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
        """Close the socket when the user has logged out elsewhere or is no longer staff."""
        session = self._session
        while session is not None and session.subscriber.closing is None:
            await asyncio.sleep(RECHECK_SECONDS)
            with contextlib.suppress(Exception):  # an unavailable database must not close the socket
                may_view = await may_async(await get_user(self.scope), Right.VIEW)
                if not may_view or not await session_exists(self.scope):
                    session.subscriber.close(CLOSE_SESSION_ENDED, "the session has ended")
