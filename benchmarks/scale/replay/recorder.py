"""Relays before Redis, one of which records what a worker sends."""

import asyncio
import time
from collections import Counter
from typing import Any, Final

import hiredis
import msgspec

from benchmarks.scale.replay.wire import READ, SETUP, SUBSCRIBE, Ledger, Replies, Words, encode

READ_BYTES: Final = 65_536
NO_SCRIPT: Final = "NOSCRIPT"
"""The reply where a script is run for the first time, after which its source is sent."""


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """Commands that a connection brought at once, `at` seconds after the recording's beginning."""

    at: float
    connection: int
    commands: list[Words]


class Recording(msgspec.Struct, frozen=True):
    """`seconds` of one worker. `setup` is how its connections begin, and `subscription` follows on one of them.

    `scripts` are the sources of all scripts that were run. `counts` are those of a Ledger.
    """

    seconds: float
    setup: list[Words]
    subscription: Words
    sent: list[Sent]
    scripts: list[bytes]
    counts: Counter[str]


class Recorder:
    """Two relays: a worker is recorded on one, and others use the other one, which learns scripts alone."""

    def __init__(self, redis_port: int) -> None:
        self._redis_port = redis_port
        self._scripts: dict[bytes, None] = {}
        self._setup: list[Words] = []
        self._subscription: Words = []
        self._sent: list[Sent] = []
        self._began = 0.0
        self._ledger: Ledger | None = None
        self._connections = 0
        self._servers: list[asyncio.Server] = []

    async def start(self) -> tuple[int, int]:
        """The port on which is recorded, and the other one."""
        for accept in (self._recorded, self._unrecorded):
            self._servers.append(await asyncio.start_server(accept, "127.0.0.1", 0))
        recorded, other = (server.sockets[0].getsockname()[1] for server in self._servers)
        return recorded, other

    async def record(self, seconds: float) -> Recording:
        """What is sent in the next seconds."""
        self._began, self._ledger = time.monotonic(), Ledger()
        await asyncio.sleep(seconds)
        ledger, self._ledger = self._ledger, None
        sent = [each for each in self._sent if each.at < seconds]
        errors = [error for error in ledger.errors if not error.startswith(NO_SCRIPT)]
        if errors:
            raise RuntimeError(f"Redis responded with errors to the recorded worker: {errors}")
        return Recording(seconds, self._setup, self._subscription, sent, list(self._scripts), ledger.counts)

    async def close(self) -> None:
        for server in self._servers:
            server.close()

    async def _recorded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        await self._relay(reader, writer, self._connections)

    async def _unrecorded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._relay(reader, writer, None)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int | None) -> None:
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self._redis_port)
        replies = Replies(Ledger())

        async def back() -> None:
            while data := await from_redis.read(READ_BYTES):
                if connection is not None:
                    replies.ledger = self._ledger or Ledger()
                    replies.feed(data)
                writer.write(data)

        returning = asyncio.create_task(back())
        commands: Any = hiredis.Reader()
        try:
            while data := await reader.read(READ_BYTES):
                to_redis.write(data)
                commands.feed(data)
                found = []
                while (words := commands.gets()) is not False:
                    found.append(words)
                self._learn(found)
                if connection is not None:
                    self._add(connection, found, replies)
        finally:
            returning.cancel()
            writer.close()
            to_redis.close()

    def _learn(self, commands: list[Words]) -> None:
        for words in commands:
            if words[0].upper() == b"EVAL":
                self._scripts[words[1]] = None

    def _add(self, connection: int, commands: list[Words], replies: Replies) -> None:
        for words in commands:
            name = words[0].upper()
            if name == SUBSCRIBE:
                self._subscription = words
            elif name in SETUP and connection == 1:
                self._setup.append(words)
            replies.expect(words)
        if self._ledger is not None and commands:
            self._sent.append(Sent(time.monotonic() - self._began, connection, commands))
            reads = sum(words[0].upper() == READ for words in commands)
            size = sum(len(encode(words)) for words in commands)
            self._ledger.add_sent(len(commands) - reads, size, reads=reads)
