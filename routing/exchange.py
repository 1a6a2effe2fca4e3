"""One request on its way through the nine steps, and what each of them found out."""

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from math import ceil
from typing import Final, NamedTuple

from resilience.cache.driver import StoreTarget
from resilience.cache.flights import Flight
from resilience.cache.messages import CacheRequest, LookupResult
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.window import Decision
from routing.authentication.authenticator import Credential
from routing.http import Header, Headers, Request
from routing.messages.trace_context import Trace
from routing.router.policy import Target
from routing.router.resolution import UNRESOLVED, CallerSlot, Resolution
from routing.router.table import Match
from routing.upstream.permit import CallPermit


@dataclass(slots=True)
class CacheSlot:
    """Where in the cache this request's answer is, or would be, and what was found there.

    `flight` is the fetch that others wait for, when this request makes it.
    """

    spot: StoreTarget
    asked: CacheRequest
    found: LookupResult
    flight: Flight | None = None


class InternalEndpoint(NamedTuple):
    """A page of the gateway's own, and how often each caller may ask for it."""

    name: str
    rate: RatePolicy


class StepLog(list[tuple[str, str, float]]):
    """Each step with its verdict and when it was over, in seconds: for a caller who debugs, or for a trace."""

    __slots__ = ("shown", "trace")

    def __init__(self, *, shown: bool = False, trace: Trace | None = None) -> None:
        super().__init__()
        self.shown = shown
        self.trace = trace


_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class Exchange:
    """Filled in step by step. `started` is monotonic seconds, `received_at` Unix time.

    `match` is set by step 4. `cache` is the X-Cache value; `cache_status` is empty where the response already has that
    field. `conditional_headers` replace the client's fields when the cache revalidates. Defaults are class attributes:
    most are never set, and assigning all of them for each request would cost as much as a step.
    """

    resolution: Resolution = UNRESOLVED
    caller_slot: CallerSlot
    match: Match
    endpoint: InternalEndpoint | None = None
    rate: RatePolicy = RatePolicy()
    rate_key = ""
    decision: Decision | None = None
    cache_slot: CacheSlot | None = None
    conditional_headers: Headers | None = None
    permit: CallPermit | None = None
    cache = ""
    cache_status = ""
    circuit = ""
    target: Target | None = None
    backend_seconds: float | None = None
    call_error = ""
    retries = 0
    error_code = ""
    step_log: StepLog | None = None

    def __init__(self, request: Request, identifier: str, received_at: float, started: float) -> None:
        self.request = request
        self.id = identifier
        self.received_at = received_at
        self.started = started
        self.caller = request.caller

    @classmethod
    def begin(cls, request: Request, at: float, started: float) -> "Exchange":
        """Step 1: the client's well-formed request id is kept, any other is replaced."""
        fields = request.fields
        given = fields.get(b"x-request-id")
        exchange = cls(request, request_id(given, at) if given else new_id(at), at, started)
        if fields.get(b"x-gateway-debug") == b"1":
            exchange.step_log = StepLog(shown=True)
        return exchange

    def again(self, headers: Headers, at: float, started: float) -> "Exchange":
        """The same request once more, as a GET with these fields and without a client: to renew what was answered."""
        request = self.request
        copy = Request("GET", request.path, request.query, headers, request.client, request.scheme)
        exchange = Exchange(copy, self.id, at, started)
        exchange.caller, exchange.resolution = self.caller, self.resolution
        exchange.caller_slot, exchange.match = self.caller_slot, self.match
        return exchange

    @property
    def credential(self) -> Credential | None:
        return self.resolution.credential_state.credential

    @property
    def prefix(self) -> bytes:
        """What of the path is the gateway's; nothing, under a service's own host."""
        return self.resolution.prefix

    @property
    def service(self) -> str:
        match = self.resolution.match
        return match.service.name if match else ""

    def mark(self, step: str, verdict: str, now: float) -> None:
        """Note a step's verdict, where somebody asks for it. `now` is monotonic seconds."""
        if self.step_log is not None:
            self.step_log.append((step, verdict, now - self.started))


def request_id(given: bytes | None, at: float) -> str:
    """The client's, if it is well formed, else a new one."""
    return given.decode() if given and _WELL_FORMED.fullmatch(given) else new_id(at)


def new_id(at: float) -> str:
    """A UUIDv7 (RFC 9562 section 5.7): Unix milliseconds, randomness for each of them, and a counter that begins
    anywhere (section 6.2, method 1). A name, not a secret.
    """
    begun, counter = _series(int(at * 1000))
    return f"{begun}{next(counter):012x}"


@lru_cache(maxsize=1)
def _series(milliseconds: int) -> "tuple[str, count[int]]":
    """What this process's ids of one millisecond begin with, and what tells them apart: 73 random bits in all."""
    text = f"{milliseconds:012x}"
    begun = f"{text[:8]}-{text[8:]}-7{random.getrandbits(12):03x}-{0x8000 | random.getrandbits(14):04x}-"
    return begun, count(random.getrandbits(47))


def rate_fields(policy: RatePolicy, decision: Decision) -> Headers:
    """The limit and what is left of it (draft-ietf-httpapi-ratelimit-headers-10)."""
    return [
        _policy_field(policy.limit, policy.window),
        (b"ratelimit", b'"default";r=%d;t=%d' % (decision.remaining, ceil(decision.reset))),
    ]


@lru_cache(maxsize=256)
def _policy_field(limit: int, window: float) -> Header:
    return (b"ratelimit-policy", b'"default";q=%d;w=%d' % (limit, window))


def timing_field(exchange: Exchange, now: float) -> Header:
    """Milliseconds until the answer's headers: in the gateway itself, and in the backend."""
    total = now - exchange.started
    if exchange.backend_seconds is None:
        return (b"server-timing", b"gateway;dur=%.3f" % (total * 1000))
    ours = max(0.0, total - exchange.backend_seconds)
    return (b"server-timing", b"gateway;dur=%.3f, backend;dur=%.3f" % (ours * 1000, exchange.backend_seconds * 1000))


def debug_field(exchange: Exchange) -> Header:
    """Each step's verdict, and when it was reached in milliseconds, in Server-Timing's form."""
    steps = exchange.step_log or ()
    text = ", ".join(
        f'{step.replace(" ", "-")};dur={at * 1000:.3f};desc="{_quoted(verdict)}"' for step, verdict, at in steps
    )
    return (b"x-gateway-debug", text.encode("ascii", "backslashreplace"))


def _quoted(text: str) -> str:
    return text.translate({34: "'", 92: "/"} | dict.fromkeys(range(32)))
