"""W3C Trace Context: which trace a request belongs to, and whether it is recorded. Pure but for the random ids."""

import random
import re
from typing import Final

import msgspec

from routing.http import Headers, joined

TRACEPARENT: Final = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""W3C Trace Context section 3.2; other versions are begun anew."""
SAMPLED: Final = 1
_LOW_HALF: Final = (1 << 64) - 1
_NOT_ZERO: Final = 1 << 64 | 1
"""A bit of a trace's id, and one of a span's behind it."""


class Sampling(msgspec.Struct, frozen=True):
    """Which traces are recorded: this part of them; but, if it `follows`, what others began as they began it."""

    ratio: float = 1.0
    parent_based: bool = True


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One request's place in its trace, ids as W3C has them in numbers.

    `parent` is the caller's span, 0 where the trace begins here; `span` is the request's own, `call` that of the call
    to the backend, which is the backend's parent.
    """

    id: int
    parent: int
    span: int
    call: int
    sampled: bool
    state: str = ""

    @property
    def traceparent(self) -> bytes:
        """What the backend is told."""
        return b"00-%032x-%016x-%02x" % (self.id, self.call, SAMPLED if self.sampled else 0)


def start_trace(headers: Headers, sampling: Sampling) -> Trace:
    """The trace that the request's `traceparent` continues, or a new one."""
    given = TRACEPARENT.fullmatch(joined(headers, b"traceparent") or b"")
    if given is None:
        identifier = random.getrandbits(128) or 1
        sampled = _chosen(identifier, sampling)
        return Trace(id=identifier, parent=0, span=new_span_id(), call=new_span_id(), sampled=sampled)
    identifier, parent, flags = (int(part, 16) for part in given.groups())
    sampled = bool(flags & SAMPLED) if sampling.parent_based else _chosen(identifier, sampling)
    state = (joined(headers, b"tracestate") or b"").decode("latin-1")
    return Trace(id=identifier, parent=parent, span=new_span_id(), call=new_span_id(), sampled=sampled, state=state)


def new_traceparent() -> bytes:
    """A traceparent that begins here, sampled (W3C Trace Context section 3.2)."""
    ids = b"%048x" % (random.getrandbits(192) | _NOT_ZERO)
    return b"00-%b-%b-01" % (ids[:32], ids[32:])


def _chosen(identifier: int, sampling: Sampling) -> bool:
    """By the trace's own id, so that every process decides alike."""
    return identifier & _LOW_HALF < sampling.ratio * (1 << 64)


def new_span_id() -> int:
    """A span's id."""
    return random.getrandbits(64) or 1
