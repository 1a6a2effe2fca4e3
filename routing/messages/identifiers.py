"""The identifiers of a request: its id, and its place in a trace (W3C Trace Context). Pure apart from random ids."""

import random
import re
from functools import lru_cache
from itertools import count
from typing import Final

import msgspec

from routing.http import Headers, joined

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


TRACEPARENT: Final = re.compile(
    rb"(?!ff|00-.{53})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-[^,]*)?"
)
"""W3C Trace Context section 3.2. A later version may have further parts, with which the trace is continued all the same
(section 4.3); of version 00, what follows the flags makes it invalid.
"""
SAMPLED: Final = 1
_LOW_HALF: Final = (1 << 64) - 1
_NOT_ZERO: Final = 1 << 64 | 1
"""Sets one bit of the trace id and one of the span id, since neither may be zero."""


class Sampling(msgspec.Struct, frozen=True):
    """Samples this share of traces; if `parent_based`, a caller's trace keeps the caller's decision."""

    ratio: float = 1.0
    parent_based: bool = True


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A request's trace context. Ids are the numbers that W3C writes in hex.

    `parent` is the caller's span, 0 if the trace starts here; `span` is the request's own; `call` is the backend call's
    span, the parent of the backend's own.
    """

    id: int
    parent: int
    span: int
    call: int
    sampled: bool
    state: str = ""

    @property
    def traceparent(self) -> bytes:
        """The field sent to the backend."""
        return b"00-%032x-%016x-%02x" % (self.id, self.call, SAMPLED if self.sampled else 0)


def start_trace(headers: Headers, sampling: Sampling) -> Trace:
    """The trace context of a request: the continuation of its `traceparent`, or a new trace."""
    match = TRACEPARENT.fullmatch(joined(headers, b"traceparent") or b"")
    if match is None:
        trace_id = random.getrandbits(128) or 1
        sampled = _is_sampled(trace_id, sampling)
        return Trace(id=trace_id, parent=0, span=new_span_id(), call=new_span_id(), sampled=sampled)
    trace_id, parent, flags = (int(part, 16) for part in match.groups())
    sampled = bool(flags & SAMPLED) if sampling.parent_based else _is_sampled(trace_id, sampling)
    state = (joined(headers, b"tracestate") or b"").decode("latin-1")
    return Trace(id=trace_id, parent=parent, span=new_span_id(), call=new_span_id(), sampled=sampled, state=state)


def new_traceparent() -> bytes:
    """The `traceparent` of a new, sampled trace (W3C Trace Context section 3.2)."""
    ids = b"%048x" % (random.getrandbits(192) | _NOT_ZERO)
    return b"00-%b-%b-01" % (ids[:32], ids[32:])


def _is_sampled(trace_id: int, sampling: Sampling) -> bool:
    """Decides by the trace id, so that every process decides the same."""
    return trace_id & _LOW_HALF < sampling.ratio * (1 << 64)


def new_span_id() -> int:
    return random.getrandbits(64) or 1
