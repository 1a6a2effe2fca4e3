"""`/ws/events/`: a Channels consumer at the edge, and behind it a session and its queue."""

import asyncio
import contextlib
from typing import Any, ClassVar, cast

from channels.generic.websocket import AsyncWebsocketConsumer

from routing import runtime
from routing.asgi import Scope, Send
from routing.errors import GatewayError, Unauthenticated
from routing.exchange import Exchange
from routing.pipeline import Gateway
from routing.realtime import handshake
from routing.realtime.event import Frame
from routing.realtime.handshake import Handshake
from routing.realtime.hub import ConnectionLimitExceeded
from routing.realtime.service import Realtime
from routing.realtime.session import Session
from routing.realtime.subscriber import Closed, Sending


class EventsConsumer(AsyncWebsocketConsumer):
    """Control messages come over one channel for each worker (control.py), not over one for each socket."""

    channel_layer_alias: ClassVar[str] = "none, by intent"

    async def connect(self) -> None:
        current = runtime.current()
        realtime = current.realtime
        assert isinstance(realtime, Realtime)  # noqa: S101 - routing.runtime knows only that it publishes
        self._realtime = realtime
        self._session: Session | None = None
        self._writer: asyncio.Task[None] | None = None
        gateway, shake = current.gateway, handshake.begin(current.gateway, cast(Scope, self.scope))
        exchange = shake.exchange
        try:
            await self.admit(gateway, exchange)
            self._session = self._opened(shake)
        except Unauthenticated as error:
            gateway.account(exchange, int(error.status), error.code)
            await self.accept(shake.subprotocol)  # a browser's script sees a close code, and no status
            await self.close(4401, error.detail[:100])
        except GatewayError as error:
            gateway.account(exchange, int(error.status), error.code)
            await self.close()
        except ConnectionLimitExceeded:
            gateway.account(exchange, 429, "too_many_connections")
            await self.close()
        else:
            gateway.account(exchange, 101)
            await self.accept(shake.subprotocol)
            self._writer = asyncio.create_task(self._write(self._session))

    async def admit(self, gateway: Gateway, exchange: Exchange) -> None:
        """Step 2 and 3: whose socket it is, if that is said already. Raises GatewayError.

        Cookies count for nothing here: a page of somebody else's has nothing to ride on (RFC 6455 section 10.2).
        """
        handshake.check_origin(exchange.request.headers, self._realtime.origins)
        await gateway.admit(exchange, anonymous=True)

    async def websocket_receive(self, message: Any) -> None:
        if self._session is not None:
            await self._session.hear(message["text"] if message.get("text") is not None else message.get("bytes"))

    async def disconnect(self, code: int) -> None:
        await self._leave()
        if code == handshake.NO_CODE:
            with contextlib.suppress(Exception):
                await self.close(handshake.BREACH)

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
        self._task, exchange = task, shake.exchange
        return self._realtime.open(self._cut, exchange.request.client, exchange.caller, exchange.credential)

    async def _write(self, session: Session) -> None:
        """The queue, as fast as the client reads; a server whose sends need no waiting for gets events as they come."""
        subscriber = session.subscriber
        try:
            while True:
                item = await subscriber.next()
                await subscriber.drain()
                sending = self._hand(item.text if isinstance(item, Frame) else item)
                if isinstance(sending, Sending):
                    subscriber.sink = self._hand
                await sending
                subscriber.sending_since = None
        except Closed as end:
            with contextlib.suppress(Exception):
                await subscriber.drain()
                await self.close(end.code, end.reason)
        except Exception:  # noqa: BLE001 - servers each have their own way to say that the client has gone
            subscriber.close(1006, "gone")
        self._task.cancel()

    def _cut(self) -> None:
        """For one that takes nothing any more. What it is told last waits in the server until it reads, or is gone.

        A server that is merely left would keep the connection, with what is in its buffers, for as long as the client.
        """
        session = self._session
        if session is not None and session.subscriber.sink is not None:
            end = session.subscriber.closing or Closed(1011, "cut")
            cast(Send, self.base_send)({"type": "websocket.close", "code": end.code, "reason": end.reason})
        self._task.cancel()

    def _hand(self, text: str) -> Any:
        session = self._session
        assert session is not None  # noqa: S101 - there is something to say
        session.subscriber.sending_since = self._realtime.timer()
        return cast(Send, self.base_send)({"type": "websocket.send", "text": text})

    async def _leave(self) -> None:
        session, writer = getattr(self, "_session", None), getattr(self, "_writer", None)
        if session is not None:
            self._realtime.leave(session)
        if writer is not None:
            writer.cancel()
