"""An entry as a value in Redis, with what tells whether it is still valid.

    16 bytes   the run id of the server that stored it, its first 16 digits
    16 bytes   zeros; earlier releases wrote and read the number of keys evicted by then here
     4 bytes   the length of the tags, big-endian
               the tags that it is indexed by, as a msgpack array
               the entry (see entry.py)

The first two are written, and the first is compared, by the scripts. Times are by the server's clock.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from resilience.cache.entry import Entry, decode, encode

_RUN_BYTES: Final = 32
_LENGTH_BYTES: Final = 4

_encode_tags: Final = msgspec.msgpack.Encoder().encode


def pack(entry: Entry, tags: Sequence[str]) -> bytes:
    """The value without the first 32 bytes."""
    index = _encode_tags(tags)
    return len(index).to_bytes(_LENGTH_BYTES, "big") + index + encode(entry)


def unpack(data: bytes) -> Entry | None:
    """The entry in a value; None if it cannot be decoded."""
    start = _RUN_BYTES + _LENGTH_BYTES
    return decode(data[start + int.from_bytes(data[_RUN_BYTES:start], "big") :])
