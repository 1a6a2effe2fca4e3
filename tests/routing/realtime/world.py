"""Workers without a server: a realtime part each, and clients that read its queues."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.authentication.authenticator import Authenticator, Credential
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
    """One worker's part. Its clock stands still until moved."""

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


class Client:
    """A connection's far end: `read` is what the socket would bring next."""

    def __init__(self, worker: Worker, topics: list[str], *, anonymous: bool) -> None:
        self.cut = False
        caller = None if anonymous else worker.live.keys.find(KEY.key, 0.0)
        self.session: Session = worker.realtime.open(self._cut, "192.0.2.1", caller, None if anonymous else CREDENTIAL)
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
        """The data of the next `count` events; what is no event is passed over."""
        found: list[Any] = []
        while len(found) < count:
            message = await self.read()
            if "id" in message:
                found.append(message["data"])
        return found

    async def end(self) -> Closed:
        """How the connection ends; what is said before is passed over."""
        while True:
            try:
                await self.read()
            except Closed as end:
                return end

    def leave(self) -> None:
        self.worker.realtime.leave(self.session)

    def _cut(self) -> None:
        self.cut = True
