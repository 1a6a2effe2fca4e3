"""Redis's protocol as far as a relay needs it: commands as they are sent, and what becomes of them."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Any, Final, NamedTuple

import hiredis

from resilience.cache.redis_scripts import GET, PUT

Words = list[bytes]
"""A command."""
SETUP: Final = frozenset({b"HELLO", b"AUTH", b"CLIENT", b"SELECT"})
"""Commands with which a connection begins."""
READ: Final = b"XREAD"
SUBSCRIBE: Final = b"SUBSCRIBE"
SCRIPTS: Final = frozenset({b"EVALSHA", b"EVAL"})
_GET, _PUT = GET.digest.encode(), PUT.digest.encode()
_TAKE_ARGUMENTS: Final = 5
_FOUND_AT: Final = 2
"""Where the entries begin in the reply to a look-up."""


def encode(words: Sequence[bytes]) -> bytes:
    """The bytes of a command."""
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


class Kind(Enum):
    """What is read in the reply to a command."""

    LOOKUP = auto()
    STORE = auto()
    TAKE = auto()
    OTHER = auto()


class Expected(NamedTuple):
    """The reply to a command of this kind. `key` is the command's first."""

    kind: Kind
    key: bytes


class Script(NamedTuple):
    """A command that runs a script, by its parts."""

    digest: bytes
    keys: Sequence[bytes]
    arguments: Sequence[bytes]


def script_of(words: Words) -> Script | None:
    if words[0].upper() not in SCRIPTS:
        return None
    end = 3 + int(words[2])
    return Script(words[1], words[3:end], words[end:])


def expected(words: Words) -> Expected:
    script = script_of(words)
    if script is None or not script.keys:
        return Expected(Kind.OTHER, b"")
    key = script.keys[0]
    kind = {_GET: Kind.LOOKUP, _PUT: Kind.STORE}.get(script.digest, Kind.OTHER)
    if is_bucket(key) and len(script.arguments) == _TAKE_ARGUMENTS:
        kind = Kind.TAKE
    return Expected(kind, key)


def is_store(script: Script) -> bool:
    return script.digest == _PUT


def is_bucket(key: bytes) -> bool:
    """Whether a rate is counted under this key."""
    return b":rate:" in key


class Ledger:
    """What was sent, and what came back: bytes, commands, reads of the feed, replies, messages, and the results of
    look-ups and stores.

    `errors` are the texts of replies that are errors.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def add_sent(self, commands: int, size: int, *, reads: int = 0) -> None:
        """`reads` are not among the commands."""
        self.counts["commands"] += commands
        self.counts["reads"] += reads
        self.counts["bytes sent"] += size

    def add_received(self, size: int) -> None:
        self.counts["bytes received"] += size

    def add_message(self) -> None:
        self.counts["messages"] += 1

    def add_reply(self, reply: Any, kind: Kind) -> None:
        self.counts["replies"] += 1
        if isinstance(reply, hiredis.ReplyError):
            self.errors[str(reply)] += 1
        elif kind is Kind.LOOKUP:
            for value in reply[_FOUND_AT:]:
                self.counts["found" if isinstance(value, bytes) else "missing"] += 1
        elif kind is Kind.STORE:
            self.counts["stores"] += len(reply)
            self.counts["stored"] += sum(result > 0 for result in reply)


class Replies:
    """The replies on one connection, each matched with its command."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._expected: deque[Expected] = deque()
        self._is_subscriber = False
        self._reader: Any = hiredis.Reader()

    def expect(self, words: Words) -> None:
        """This command is sent. A subscription has a reply for each channel."""
        self._is_subscriber = self._is_subscriber or words[0].upper() == SUBSCRIBE
        self._expected.extend([expected(words)] * (len(words) - 1 if words[0].upper() == SUBSCRIBE else 1))

    def expect_all(self, commands: Iterable[Expected]) -> None:
        """Commands of which is known what they are."""
        self._expected.extend(commands)

    @property
    def missing(self) -> int:
        """Replies that are still to come."""
        return len(self._expected)

    def feed(self, data: bytes) -> list[tuple[Any, Expected]]:
        """The replies that are complete now. Messages are counted alone."""
        self.ledger.add_received(len(data))
        self._reader.feed(data)
        found = []
        while (reply := self._reader.gets()) is not False:
            if self._is_subscriber and is_message(reply):
                self.ledger.add_message()
                continue
            command = self._expected.popleft()
            self.ledger.add_reply(reply, command.kind)
            found.append((reply, command))
        return found


def is_message(reply: Any) -> bool:
    return isinstance(reply, list) and bool(reply) and reply[0] == b"message"
