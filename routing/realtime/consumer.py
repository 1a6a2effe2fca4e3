"""`/ws/events/`: a Channels consumer at the edge, and behind it a session and its queue."""

import asyncio
import contextlib
from typing import Any, ClassVar, cast

from channels.generic.websocket import AsyncWebsocketConsumer

from routing import runtime
from routing.asgi import Scope, Send
from routing.errors import GatewayError, Unauthenticated
from routing.realtime import entrance
from routing.realtime.entrance import Handshake
from routing.realtime.event import Frame
from routing.realtime.hub import TooMany
from routing.realtime.realtime import Realtime
from routing.realtime.session import Session
from routing.realtime.subscriber import Closed


class EventsConsumer(AsyncWebsocketConsumer):
    """Control messages come over one channel for each worker (control.py), not over one for each socket."""

    channel_layer_alias: ClassVar[str] = "none, by intent"

    async def connect(self) -> None:
        current = runtime.current()
        self._realtime: Realtime = current.realtime
        self._session: Session | None = None
        self._writer: asyncio.Task[None] | None = None
        gateway, shake = current.gateway, entrance.begin(current.gateway, cast(Scope, self.scope))
        exchange = shake.exchange
        try:
            entrance.check_origin(exchange.request.headers, self._realtime.origins)
            await gateway.admit(exchange, anonymous=True)
            self._session = self._opened(shake)
        except Unauthenticated as error:
            gateway.tell(exchange, int(error.status), error.code)
            await self.accept(shake.subprotocol)  # a browser's script sees a close code, and no status
            await self.close(4401, error.detail[:100])
        except GatewayError as error:
            gateway.tell(exchange, int(error.status), error.code)
            await self.close()
        except TooMany:
            gateway.tell(exchange, 429, "too_many_connections")
            await self.close()
        else:
            gateway.tell(exchange, 101)
            await self.accept(shake.subprotocol)
            self._writer = asyncio.create_task(self._write(self._session))

    async def websocket_receive(self, message: Any) -> None:
        if self._session is not None:
            await self._session.hear(message["text"] if message.get("text") is not None else message.get("bytes"))

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - Channels' signature
        await self._leave()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Cut from our side, a connection ends here without further ado."""
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            session = self._session
            if session is None or not session.subscriber.closing:
                raise
        finally:
            await self._leave()

    def _opened(self, shake: Handshake) -> Session:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        exchange = shake.exchange
        return self._realtime.open(lambda: _cut(task), exchange.request.client, exchange.caller, exchange.credential)

    async def _write(self, session: Session) -> None:
        """The queue, as fast as the client reads."""
        subscriber, send = session.subscriber, cast(Send, self.base_send)
        try:
            while True:
                item = await subscriber.take()
                subscriber.sending_since = self._realtime.timer()
                await send({"type": "websocket.send", "text": item.text if isinstance(item, Frame) else item})
                subscriber.sending_since = None
        except Closed as end:
            with contextlib.suppress(Exception):
                await self.close(end.code, end.reason)
        except Exception:  # noqa: BLE001 - servers each have their own way to say that the client has gone
            subscriber.close(1006, "gone")
        subscriber.abort()

    async def _leave(self) -> None:
        session, writer = getattr(self, "_session", None), getattr(self, "_writer", None)
        if session is not None:
            self._realtime.leave(session)
        if writer is not None:
            writer.cancel()


def _cut(task: "asyncio.Task[Any]") -> None:
    task.cancel()
