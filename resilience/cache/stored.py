"""An entry as a value in Redis, with what tells whether it is still valid.

    16 bytes   the run id of the server that stored it, its first 16 digits
    16 bytes   the number of keys that server had evicted by then, in decimal
     4 bytes   the length of the tags, big-endian
               the tags that it is indexed by, as a msgpack array
               the entry (see entry.py)

The first two are written and compared by the scripts. Times are by the server's clock.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from resilience.cache.entry import Entry, decode, encode

_EPOCH_BYTES: Final = 32
_LENGTH_BYTES: Final = 4

_encode_tags: Final = msgspec.msgpack.Encoder().encode


def pack(entry: Entry, tags: Sequence[str]) -> bytes:
    """The value without the first 32 bytes."""
    index = _encode_tags(tags)
    return len(index).to_bytes(_LENGTH_BYTES, "big") + index + encode(entry)


def unpack(data: bytes) -> Entry | None:
    """The entry in a value; None if it cannot be decoded."""
    start = _EPOCH_BYTES + _LENGTH_BYTES
    return decode(data[start + int.from_bytes(data[_EPOCH_BYTES:start], "big") :])
