"""Workers without a server: a realtime service each, and clients that read their subscribers' queues."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.authentication.authenticator import Authenticator, Credential
from routing.http import Request
from routing.realtime.event import Frame
from routing.realtime.limits import Limits
from routing.realtime.log import Log, MemoryLog
from routing.realtime.service import Realtime
from routing.realtime.session import Session
from routing.realtime.subscriber import Closed
from routing.router.live import LiveConfiguration
from routing.router.policy import Target
from routing.router.table import RouteTable, Service
from tests.clock import FakeClock

KEY = generate_api_key()
CREDENTIAL = Credential(KEY.key, is_key=True)


def live_of(*names: str) -> LiveConfiguration:
    keys = ApiKeys([KeyRecord(prefix=KEY.prefix, digest=KEY.digest, name="ours", scopes=frozenset({"*"}))])
    return LiveConfiguration(
        RouteTable([Service(name, (Target("http://127.0.0.1:1"),)) for name in names or ("crm",)]), keys
    )


class Worker:
    """A worker's realtime service, with fake clocks."""

    def __init__(self, log: Log | None = None, *, limits: Limits | None = None, clock: FakeClock | None = None) -> None:
        self.clock, self.timer, self.live = clock or FakeClock(), FakeClock(0.0), live_of()
        self.realtime = Realtime(
            log or MemoryLog(self.clock),
            self.live,
            Authenticator(lambda: self.live.keys),
            limits=limits or Limits(),
            clock=self.clock,
            timer=self.timer,
        )

    async def __aenter__(self) -> "Worker":
        self.realtime.start()
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in tuple(self.realtime._sessions):
            self.realtime.leave(session)
        await self.realtime.close()

    def client(self, topics: Iterable[str] = (), *, anonymous: bool = False) -> "Client":
        return Client(self, list(topics), anonymous=anonymous)


HANDSHAKE = Request("GET", b"/ws/events/", b"", [(b"host", b"gateway.test")], "192.0.2.1")


class Client:
    """The client's side of a connection. `read` returns the next message that the socket would receive."""

    def __init__(self, worker: Worker, topics: list[str], *, anonymous: bool) -> None:
        self.is_aborted = False
        caller = None if anonymous else worker.live.keys.find(KEY.key, 0.0)
        self.session: Session = worker.realtime.open(self._abort, HANDSHAKE, caller, None if anonymous else CREDENTIAL)
        if topics:
            assert not self.session.subscribe(topics)
        self.worker = worker

    async def send(self, **message: Any) -> None:
        await self.session.handle(msgspec.json.encode(message).decode())

    async def read(self) -> dict[str, Any]:
        """The next message. Raises Closed."""
        async with asyncio.timeout(20):
            item = await self.session.subscriber.next()
        message: dict[str, Any] = msgspec.json.decode(item.text if isinstance(item, Frame) else item)
        return message

    async def events(self, count: int) -> list[Any]:
        """The data of the next `count` events. Other messages are skipped."""
        found: list[Any] = []
        while len(found) < count:
            message = await self.read()
            if "id" in message:
                found.append(message["data"])
        return found

    async def wait_closed(self) -> Closed:
        """How the connection is closed. Messages before are skipped."""
        while True:
            try:
                await self.read()
            except Closed as end:
                return end

    def leave(self) -> None:
        self.worker.realtime.leave(self.session)

    def _abort(self) -> None:
        self.is_aborted = True
