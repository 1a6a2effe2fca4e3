"""The connection of a WebSocket to a backend."""

import asyncio
from contextlib import suppress
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from routing.realtime.piecewise import PiecewiseParser

PIECE_BYTES: Final = 8_192
"""Parsed at once of what was read: at most 4,096 frames. Smaller pieces would double the time for large messages."""


class BackendSocket(ClientConnection):
    """A WebSocket to a target. `pings` is the number of pings received, which are answered here. `error` is what the
    connection was lost by.

    What was read is parsed in pieces, the next one once most messages of the last have been taken. A pong is sent each
    `ping_interval`.
    """

    pings = 0
    error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._parser = PiecewiseParser(
            self.loop,
            super().data_received,
            piece=PIECE_BYTES,
            is_held=lambda: self.recv_messages.paused,
            is_closing=self.transport.is_closing,
            pause=self.transport.pause_reading,
            resume=self.transport.resume_reading,
        )
        self.recv_messages.resume = self._parser.release

    async def keepalive(self) -> None:
        """Send heartbeats that ask for no reply (RFC 6455 section 5.5.3): they keep the connection in the tables of
        firewalls, and let the kernel notice a host that is gone. A backend that computes for a minute answers no ping
        meanwhile, and must not lose its result.
        """
        assert self.ping_interval is not None  # noqa: S101 - as in the base class, which starts no task then
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self.ping_interval)
                await self.pong()

    def data_received(self, data: bytes) -> None:
        self._parser.add(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc
        self._parser.clear()
        super().connection_lost(exc)

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pings += 1
        super().process_event(event)
