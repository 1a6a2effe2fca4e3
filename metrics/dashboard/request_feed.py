"""The live feed of the page of requests: those that match its search, once a second."""

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

import msgspec
from channels.auth import get_user
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.http import QueryDict
from django.utils import translation

from metrics.dashboard.request_rows import row
from metrics.dashboard.request_search import read_form
from metrics.dashboard.staff import CLOSE_FORBIDDEN, CLOSE_SESSION_ENDED, RECHECK_SECONDS, session_exists
from metrics.request_log.search import RequestQuery, SearchResult
from metrics.request_log.store import Position
from metrics.runtime_access import running
from routing import runtime
from routing.realtime.handshake import same_origin
from routing.rights import Right, is_any, services_async

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 1.0
MAX_ROWS: Final = 50
"""Rows sent at once: more a second could not be read."""


class RequestsConsumer(AsyncWebsocketConsumer):
    """`/ws/dashboard/requests/?service=&status=&...&after=&language=`: for staff who may view the gateway or some of
    its services, from its own origin.

    Sends `{"requests", "isShared", "more"}`, the latest request first. Ignores what the client sends.
    """

    async def connect(self) -> None:
        self._task: asyncio.Task[None] | None = None
        is_own = same_origin(list(self.scope["headers"]))
        self._names = await services_async(self.scope.get("user"), Right.VIEW)
        if not is_own or not is_any(self._names):
            await self.close(CLOSE_FORBIDDEN)
            return
        parameters = QueryDict(self.scope["query_string"])
        try:
            after = Position.parse(parameters.get("after", ""))
        except ValueError:
            after = None
        self._language = _language(parameters.get("language", ""))
        await self.accept()
        self._checked = time.monotonic()
        self._task = asyncio.create_task(self._follow(read_form(parameters).query(), after))

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - the base class's signature
        if self._task is not None:
            self._task.cancel()

    async def _follow(self, query: RequestQuery, after: Position | None) -> None:
        after = after or await _latest()
        while True:
            if not await self._may_view():
                await self.close(CLOSE_SESSION_ENDED)
                return
            try:
                found = await _search(msgspec.structs.replace(query, names=self._names), after, MAX_ROWS)
            except Exception:
                log.exception("failed to read the request log; will retry in a second")
                found = SearchResult([], is_shared=False)
            if found.is_shared and found.records:
                after = found.records[0].position
            await self.send(text_data=_message(found, self._language))
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _may_view(self) -> bool:
        """Whether the session still exists and its user may view the gateway. An unavailable database ends nothing."""
        if time.monotonic() - self._checked < RECHECK_SECONDS:
            return True
        self._checked = time.monotonic()
        with contextlib.suppress(Exception):
            self._names = await services_async(await get_user(self.scope), Right.VIEW)
            return is_any(self._names) and await session_exists(self.scope)
        return True


async def _search(query: RequestQuery, after: Position | None, limit: int) -> SearchResult:
    return await runtime.current().run(running().request_log.search(query, after=after, limit=limit))


async def _latest() -> Position | None:
    found = await _search(RequestQuery(), None, 1)
    return found.records[0].position if found.records and found.is_shared else Position(0)


def _language(code: str) -> str:
    """The page's language, if it is one of ours."""
    try:
        return translation.get_supported_language_variant(code)
    except LookupError:
        return settings.LANGUAGE_CODE


def _message(found: SearchResult, language: str) -> str:
    """Positions of one worker's own requests mean nothing to the others: they are not followed."""
    with translation.override(language):
        rows: list[dict[str, Any]] = [row(each) for each in found.records] if found.is_shared else []
    message = {"requests": rows, "isShared": found.is_shared, "more": found.is_shared and found.next is not None}
    return msgspec.json.encode(message).decode()
