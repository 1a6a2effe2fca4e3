"""What another program may write under a key in Redis: each type, and bytes that are none of ours."""

import random
from collections.abc import Callable
from typing import Final

from redis import Redis

Put = Callable[[Redis, bytes], object]

_random: Final = random.Random(5)


def _text(length: int = 20) -> bytes:
    return _random.randbytes(length)


KINDS: Final[dict[str, Put]] = {
    "bytes": lambda client, key: client.set(key, _text(200)),
    "number": lambda client, key: client.set(key, b"99999999999999999999999"),
    "json": lambda client, key: client.set(key, b'[{"a": null}]'),
    "deep json": lambda client, key: client.set(key, b"[" * 100_000),
    "list": lambda client, key: client.rpush(key, _text(), b"1"),
    "set": lambda client, key: client.sadd(key, _text(), b"1"),
    "hash": lambda client, key: client.hset(
        key, mapping={_text(): _text(), b"id": b"\xff", b"a|b|c": b"x", b"1": b"y", b"99999999999": b"1"}
    ),
    "sorted set": lambda client, key: client.zadd(
        key, {_text(): 1.5, b"seq": float("inf"), b"floor": float("inf"), b"t:a": float("inf")}
    ),
    "stream": lambda client, key: client.xadd(key, {_text(): _text()}),
}
"""By name, functions that write it."""


def overwrite(client: Redis, put: Put) -> set[bytes]:
    """Replace the value of each key. Returns the keys."""
    keys = set(client.scan_iter(count=1_000))
    for key in keys:
        client.delete(key)
        put(client, key)
    return keys
