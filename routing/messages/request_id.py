"""Request ids: the client's where it is well formed, else a UUIDv7."""

import random
import re
from functools import lru_cache
from itertools import count
from typing import Final

_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def request_id(sent: bytes | None, now: float) -> str:
    """The client's id if it is well formed, else a new one. `now` is Unix time in seconds."""
    return sent.decode() if sent and _WELL_FORMED.fullmatch(sent) else new_id(now)


def new_id(now: float) -> str:
    """A UUIDv7 (RFC 9562 section 5.7): Unix milliseconds, random bits for each millisecond, and a counter with a
    random start (section 6.2, method 1). An identifier, not a secret.
    """
    prefix, counter = _millisecond(int(now * 1000))
    return f"{prefix}{next(counter):012x}"


@lru_cache(maxsize=1)
def _millisecond(milliseconds: int) -> "tuple[str, count[int]]":
    """The prefix and counter of this process's ids within one millisecond: 73 random bits in all."""
    text = f"{milliseconds:012x}"
    prefix = f"{text[:8]}-{text[8:]}-7{random.getrandbits(12):03x}-{0x8000 | random.getrandbits(14):04x}-"
    return prefix, count(random.getrandbits(47))
