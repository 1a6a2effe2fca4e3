"""Lets a target close its connection while a call is on its way to it, as one does whose idle timeout ends then."""

import os
import socket

import pytest

from routing.backend.connection import BackendConnection
from tests.origin import Peer


class Crossing:
    """`keep` is a script for an origin: it responds with `response`, and keeps its end of the connection. The next call
    that is sent on this meets the end of it, after `last`, which the target sends before.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, response: bytes, last: bytes = b"") -> None:
        self._response = response
        self._last = last
        self._kept: list[Peer] = []
        watch = BackendConnection.watch_delivery

        def watch_and_close(connection: BackendConnection) -> None:
            watch(connection)
            self._close()

        monkeypatch.setattr(BackendConnection, "watch_delivery", watch_and_close)

    async def keep(self, peer: Peer) -> None:
        await peer.read_body()
        await peer.send(self._response)
        self._kept.append(peer)

    def _close(self) -> None:
        """At once, not in a later turn of the event loop."""
        while self._kept:
            fileno = self._kept.pop().writer.get_extra_info("socket").fileno()
            with socket.socket(fileno=os.dup(fileno)) as end:
                end.send(self._last)
                end.shutdown(socket.SHUT_RDWR)
