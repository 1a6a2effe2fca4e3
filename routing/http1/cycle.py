"""A request that takes time: its task, what it hears of the client, and its answer as it is sent."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from routing.errors import GatewayError, InternalError, problem
from routing.http import ClientGone, Headers, Request, Response
from routing.http1.head_cache import RequestHead
from routing.http1.request_body import RequestBody
from routing.http1.response_encoder import ResponseEncoder
from routing.messages.request_id import new_id

if TYPE_CHECKING:
    from routing.http1.connection import Connection

log = logging.getLogger(__name__)


class RequestCycle:
    """`gone`: the client has left, and a backend need not work for it any longer."""

    gone = False
    _out: ResponseEncoder | None = None
    _may_be_cut = False
    _task: "asyncio.Task[None] | None" = None

    def __init__(self, connection: "Connection", head: RequestHead, body: RequestBody | None) -> None:
        self.connection = connection
        self.head = head
        self.body = body

    def begin(self, request: Request, answer: Response | Awaitable[Response]) -> None:
        """Send `answer`, once it is there."""
        request.watch_disconnect = self._waits
        self._spawn(self._sent(answer))

    def disconnect(self) -> None:
        """The client has gone."""
        self.gone = True
        if self._may_be_cut and self._task is not None:
            self._task.cancel()

    def _spawn(self, work: Awaitable[None]) -> None:
        self._task = task = self.connection.loop.create_task(self._run(work))
        self.connection.worker.tasks.add(task)

    def _waits(self) -> None:
        self._may_be_cut = True
        if self.gone and self._task is not None:
            self._task.cancel()

    async def _run(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (GatewayError, ClientGone, asyncio.CancelledError):
            self._cut()
        except Exception:
            log.exception("an answer could not be given")
            self._fail()
        finally:
            if self._task is not None:
                self.connection.worker.tasks.discard(self._task)

    async def _sent(self, answer: Response | Awaitable[Response]) -> None:
        response = answer if isinstance(answer, Response) else await answer
        if isinstance(response.body, bytes):
            self._whole(response)
            return
        async with contextlib.aclosing(response.body) as chunks:
            self._start(response.status, response.headers)
            async for chunk in chunks:
                await self._part(chunk)
        self._end()

    def _whole(self, response: Response) -> None:
        self.connection.whole(self.head, self.body, response)
        self.connection.go_on()

    def _start(self, status: int, headers: Headers) -> None:
        connection = self.connection
        stays = connection.stays(self.head, self.body)
        self._out = ResponseEncoder(self.head.method, self.head.version, status, headers, stays=stays)
        connection.transport.write(self._out.head(connection.date))

    async def _part(self, data: bytes) -> None:
        """Raises ClientGone."""
        if self.gone:
            raise ClientGone
        assert self._out is not None  # noqa: S101 - it has been started
        self.connection.transport.write(self._out.part(data))
        await self.connection.drained()

    def _end(self) -> None:
        assert self._out is not None  # noqa: S101 - it has been started
        self.connection.transport.write(self._out.end())
        self.connection.over(self.body, stays=self._out.stays)
        self.connection.go_on()

    def _fail(self) -> None:
        if self._out is None:
            self._whole(problem(InternalError("the request could not be handled"), new_id(time.time())))
        else:
            self._cut()

    def _cut(self) -> None:
        """How a client learns that an answer is not whole; the reason is in the log."""
        if self._out is not None and self._out.ends_with_the_connection:
            self.connection.transport.abort()
        else:
            self.connection.transport.close()
