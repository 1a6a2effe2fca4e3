"""A recording as it is sent by many: with marks where each worker's own names go, and what replies have to tell.

All marks are as long as what they stand for, so that lengths that are written in the commands stay right.

    names     of 12 hexadecimal digits or more: responses that one worker alone asks for, owners of leases, flushes,
              requests. Each worker has its own, unless they were known before the recording, such as those of shared
              responses. Their first SALT_BYTES are replaced.
    fences    a response is stored with the number that the latest look-up in its service returned.
    slices    tokens of a rate are returned to the slice that they were taken from.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from benchmarks.scale.replay.recorder import Recording, Sent
from benchmarks.scale.replay.wire import (
    READ,
    SETUP,
    SUBSCRIBE,
    Expected,
    Kind,
    Script,
    Words,
    encode,
    expected,
    is_bucket,
    is_store,
    script_of,
)

NAME: Final = re.compile(rb"[0-9a-f]{12,}")
SALT_BYTES: Final = 6
SALT: Final = b"\x00salt\x00"
TURNS: Final = 0x1_000
_LEFT_OUT: Final = SETUP | {READ, SUBSCRIBE, b"EVAL"}
"""Connections are set up before; a worker's reads depend on what it has read; a script's source follows its digest."""
_PUT_FIELDS: Final = 7
"""Arguments of each response that is stored, before its tags: see resilience/cache/redis_scripts.py."""


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """What a connection sends at once. `learnt` are marks, each with the key whose latest reply it is filled from."""

    at: float
    connection: int
    data: bytes
    expected: tuple[Expected, ...]
    learnt: tuple[tuple[bytes, bytes], ...]
    is_salted: bool

    def render(self, salt: bytes, known: dict[bytes, bytes]) -> bytes:
        """The bytes of one worker."""
        data = self.data.replace(SALT, salt) if self.is_salted else self.data
        for mark, key in self.learnt:
            data = data.replace(mark, known.get(key, b"0" * len(mark)))
        return data


def salt(worker: int, turn: int) -> bytes:
    """What distinguishes the names of a worker, of up to 4,096, in its n-th turn through the recording."""
    return b"%03x%03x" % (worker, turn % TURNS)


def chunks(recording: Recording, shared: Collection[bytes]) -> list[Chunk]:
    """In order of time. Connections are numbered from 0. `shared` are the names that are the same for all workers."""
    numbers: dict[int, int] = {}
    found = []
    for sent in recording.sent:
        commands = [words for words in sent.commands if words[0].upper() not in _LEFT_OUT]
        if commands:
            found.append(_chunk(sent, numbers.setdefault(sent.connection, len(numbers)), commands, shared))
    return found


def names_in(keys: Sequence[bytes]) -> frozenset[bytes]:
    """The names that these keys contain."""
    return frozenset(name for key in keys for name in NAME.findall(key))


def learn(reply: object, command: Expected) -> bytes | None:
    """What later commands repeat of a reply."""
    if not isinstance(reply, list):
        return None
    if command.kind is Kind.LOOKUP:
        return bytes(reply[0])
    return b"%d" % reply[3] if command.kind is Kind.TAKE else None


def _chunk(sent: Sent, connection: int, commands: list[Words], shared: Collection[bytes]) -> Chunk:
    learnt: dict[bytes, bytes] = {}
    data = b"".join(encode(_marked(words, shared, learnt)) for words in commands)
    replies = tuple(expected(words) for words in commands)
    return Chunk(sent.at, connection, data, replies, tuple(learnt.items()), SALT in data)


def _marked(words: Words, shared: Collection[bytes], learnt: dict[bytes, bytes]) -> Words:
    """The command with its marks. Adds those that are filled from replies to `learnt`."""
    script = script_of(words)
    if script is None:
        return [_salted(word, shared) for word in words]
    arguments = list(script.arguments)
    for index in _repeated(script):
        mark = _mark(script.keys[0], len(arguments[index]))
        learnt[mark] = script.keys[0]
        arguments[index] = mark
    tail = [_salted(word, shared) for word in (*script.keys, *arguments)]
    return [*words[:3], *tail]


def _salted(word: bytes, shared: Collection[bytes]) -> bytes:
    def replace(match: re.Match[bytes]) -> bytes:
        name = match[0]
        return name if name in shared or name.isdigit() else SALT + name[SALT_BYTES:]

    return NAME.sub(replace, word)


def _repeated(script: Script) -> list[int]:
    """Which arguments repeat a part of an earlier reply."""
    if is_store(script):
        return _fences(script.arguments)
    if len(script.keys) == 1 and is_bucket(script.keys[0]) and len(script.arguments) == 2:
        return [0]  # tokens that are returned
    return []


def _fences(arguments: Sequence[bytes]) -> list[int]:
    found, index = [], 0
    while index < len(arguments):
        found.append(index + 2)
        index += _PUT_FIELDS + int(arguments[index + 3])
    return found


def _mark(key: bytes, length: int) -> bytes:
    """Bytes that are nowhere else in a recording."""
    digest = hashlib.blake2b(key, digest_size=length - 2).digest().replace(b"\r", b"\x01").replace(b"\n", b"\x01")
    return b"\x00" + digest + b"\xff"
