"""Events for a member of staff's browser: by session, and for the dashboard's own page alone."""

import asyncio
import contextlib
from typing import Any, Final

from channels.auth import get_user

from metrics.dashboard.live import RECHECK_SECONDS, is_staff
from routing.caller import EVERY_SERVICE, Caller
from routing.errors import Forbidden
from routing.exchange import Exchange
from routing.pipeline import Gateway
from routing.realtime.consumer import EventsConsumer
from routing.realtime.handshake import same_origin

GONE: Final = 4401


class StaffEventsConsumer(EventsConsumer):
    """`/ws/dashboard/events/`: as `/ws/events/`, for who is logged in.

    A browser sends a session's cookie for whatever page asks, and so the origin must be this very host, whatever
    CORS_ORIGINS allows with a token.
    """

    async def admit(self, gateway: Gateway, exchange: Exchange) -> None:  # noqa: ARG002 - it asks the session instead
        user: Any = self.scope.get("user")
        if not same_origin(exchange.request.headers) or not is_staff(user):
            raise Forbidden("this is for members of staff, from the dashboard's own pages")
        exchange.caller = Caller(f"staff:{user.get_username()}", scopes=frozenset({EVERY_SERVICE}))

    async def connect(self) -> None:
        self._recheck: asyncio.Task[None] | None = None
        await super().connect()
        if self._session is not None:
            self._recheck = asyncio.create_task(self._check_again())

    async def disconnect(self, code: int) -> None:
        await super().disconnect(code)
        if self._recheck is not None:
            self._recheck.cancel()

    async def _check_again(self) -> None:
        """Who has logged out elsewhere, or lost the right, is not told for long."""
        session = self._session
        while session is not None and session.subscriber.closing is None:
            await asyncio.sleep(RECHECK_SECONDS)
            with contextlib.suppress(Exception):  # a database that is away says nothing of anybody
                if not is_staff(await get_user(self.scope)):
                    session.subscriber.close(GONE, "the session has ended")
