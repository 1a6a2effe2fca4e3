"""The workers that a recording is sent as: their connections to Redis, and what each sends when."""

import socket
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.scale.replay.recorder import READ_BYTES, Recording
from benchmarks.scale.replay.templates import Chunk, learn
from benchmarks.scale.replay.wire import READ, Expected, Kind, Ledger, Replies, Words, encode

_READ: Final = Expected(Kind.OTHER, b"")
_LATEST: Final = b"$"


class Connection:
    """One to Redis. What it does not take at once waits in `unsent`."""

    def __init__(self, port: int, setup: Sequence[Words]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = Replies(Ledger())
        self.unsent = b""
        for words in setup:
            self.replies.expect(words)
        self.socket.sendall(b"".join(map(encode, setup)))
        while self.replies.missing:
            self.replies.feed(self.socket.recv(READ_BYTES))
        self.socket.setblocking(False)

    def send(self, data: bytes) -> None:
        data = self.unsent + data if self.unsent else data
        try:
            taken = self.socket.send(data)
        except BlockingIOError:
            taken = 0
        self.unsent = data[taken:]

    def receive(self) -> list[tuple[Any, Expected]]:
        """The replies that are complete now. Raises ConnectionError if Redis has closed it."""
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("Redis has closed a connection")
        return self.replies.feed(data)


class Copy:
    """One worker: connections as the recorded one has them, one more that is subscribed, and one that reads the feed.

    `known` is what later commands repeat of replies, by key.
    """

    def __init__(self, port: int, recording: Recording, connections: int, known: dict[bytes, bytes]) -> None:
        self.known = dict(known)
        self.connections = [Connection(port, recording.setup) for _ in range(connections)]
        self.subscriber = Connection(port, [*recording.setup, recording.subscription])
        self.reader = Connection(port, recording.setup)
        self._read = read_command(recording)
        self._last = _LATEST

    @property
    def all_connections(self) -> list[Connection]:
        return [*self.connections, self.subscriber, self.reader]

    def count_in(self, ledger: Ledger) -> None:
        for connection in self.all_connections:
            connection.replies.ledger = ledger

    def send(self, chunk: Chunk, salt: bytes, ledger: Ledger) -> Connection:
        connection = self.connections[chunk.connection]
        data = chunk.render(salt, self.known)
        connection.replies.expect_all(chunk.expected)
        connection.send(data)
        ledger.add_sent(len(chunk.expected), len(data))
        return connection

    def read(self, ledger: Ledger) -> None:
        """Wait for the next entries of the feed."""
        data = encode([*self._read, self._last])
        self.reader.replies.expect_all((_READ,))
        self.reader.send(data)
        ledger.add_sent(0, len(data), reads=1)

    def receive(self, connection: Connection) -> bool:
        """Whether the feed's next entries are to be read."""
        for reply, command in connection.receive():
            if connection is self.reader:
                self._last = last_entry(reply) or self._last
                return True
            if (value := learn(reply, command)) is not None:
                self.known[command.key] = value
        return False


def read_command(recording: Recording) -> Words:
    """How the recorded worker reads the feed, without the position."""
    for sent in recording.sent:
        for words in sent.commands:
            if words[0].upper() == READ:
                return words[:-1]
    raise RuntimeError("the recorded worker has not read the feed")


def last_entry(reply: Any) -> bytes | None:
    """The position of the last entry of one stream. None: nothing came in time."""
    if not reply or isinstance(reply, Exception):
        return None
    entries = next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]
    return bytes(entries[-1][0])
