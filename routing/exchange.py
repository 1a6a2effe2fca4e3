"""One request on its way through the nine steps, and what each of them found out."""

import random
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from resilience.cache.driver import Spot
from resilience.cache.flights import Flight
from resilience.cache.messages import Asked, Found
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.window import Decision
from routing.authentication.authenticator import Credential
from routing.errors import GatewayError
from routing.http import Header, Headers, Request, first
from routing.policy import Target
from routing.table import Match
from routing.tracecontext import Trace


@dataclass(slots=True)
class Place:
    """Where in the cache this request's answer is, or would be, and what was found there.

    `flight` is the fetch that others wait for, when this request makes it.
    """

    spot: Spot
    asked: Asked
    found: Found
    flight: Flight | None = None


class Own(NamedTuple):
    """A page of the gateway's own, and how often each caller may ask for it."""

    name: str
    rate: RatePolicy


class Steps(list[tuple[str, str, float]]):
    """Each step with its verdict and when it was over, in seconds: for a caller who debugs, or for a trace."""

    __slots__ = ("shown", "trace")

    def __init__(self, *, shown: bool = False, trace: Trace | None = None) -> None:
        super().__init__()
        self.shown = shown
        self.trace = trace


_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class Exchange:
    """Filled in step by step. `started` is monotonic seconds, `at` Unix time; `backend` is seconds until its headers.

    A fault found before the step that tells of it waits in `unread` (the credential's) or `unrouted` (the route's).
    `asks` are the fields to call the backend with in place of the client's, when the cache asks about what it has.
    """

    __slots__ = (
        "asks",
        "at",
        "backend",
        "cache",
        "cache_status",
        "call",
        "caller",
        "circuit",
        "code",
        "credential",
        "decision",
        "id",
        "match",
        "own",
        "place",
        "prefix",
        "rate",
        "rate_key",
        "request",
        "retries",
        "started",
        "steps",
        "target",
        "unread",
        "unrouted",
    )

    def __init__(self, request: Request, identifier: str, at: float, started: float) -> None:
        self.request = request
        self.id = identifier
        self.at = at
        self.started = started
        self.credential: Credential | None = None
        self.unread: GatewayError | None = None
        self.caller = request.caller
        self.match: Match | None = None
        self.own: Own | None = None
        self.unrouted: GatewayError | None = None
        self.prefix = b""
        self.rate: RatePolicy | None = None
        self.rate_key = ""
        self.decision: Decision | None = None
        self.place: Place | None = None
        self.asks: Headers | None = None
        self.cache = ""
        self.cache_status = ""
        self.circuit = ""
        self.target: Target | None = None
        self.backend: float | None = None
        self.call = ""
        self.retries = 0
        self.code = ""
        self.steps: Steps | None = None

    @classmethod
    def begin(cls, request: Request, at: float, started: float) -> "Exchange":
        """Step 1: the client's well-formed request id is kept, any other is replaced."""
        exchange = cls(request, request_id(first(request.headers, b"x-request-id"), at), at, started)
        if first(request.headers, b"x-gateway-debug") == b"1":
            exchange.steps = Steps(shown=True)
        return exchange

    def again(self, headers: Headers, at: float, started: float) -> "Exchange":
        """The same request once more, as a GET with these fields and without a client: to renew what was answered."""
        request = self.request
        copy = Request("GET", request.path, request.query, headers, request.client, request.scheme)
        exchange = Exchange(copy, self.id, at, started)
        exchange.caller, exchange.credential = self.caller, self.credential
        exchange.match, exchange.prefix = self.match, self.prefix
        return exchange

    @property
    def service(self) -> str:
        return self.match.service.name if self.match else ""

    @property
    def routed(self) -> Match:
        """The match, from step 4 on."""
        assert self.match is not None  # noqa: S101 - step 4 has raised for a request without one
        return self.match

    def mark(self, step: str, verdict: str, now: float) -> None:
        """Note a step's verdict, where somebody asks for it. `now` is monotonic seconds."""
        if self.steps is not None:
            self.steps.append((step, verdict, now - self.started))


def request_id(given: bytes | None, at: float) -> str:
    """The client's, if it is well formed, else a new one."""
    return given.decode() if given and _WELL_FORMED.fullmatch(given) else new_id(at)


def new_id(at: float) -> str:
    """A UUIDv7 (RFC 9562 section 5.7): Unix milliseconds, then randomness. A name, not a secret."""
    bits = int(at * 1000) << 80 | 0x7 << 76 | random.getrandbits(12) << 64 | 0b10 << 62 | random.getrandbits(62)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def rate_fields(policy: RatePolicy, decision: Decision) -> Headers:
    """The limit and what is left of it (draft-ietf-httpapi-ratelimit-headers-10)."""
    return [
        (b"ratelimit-policy", b'"default";q=%d;w=%d' % (policy.limit, policy.window)),
        (b"ratelimit", b'"default";r=%d;t=%d' % (decision.remaining, -int(-decision.reset // 1))),
    ]


def timing_field(exchange: Exchange, now: float) -> Header:
    """Milliseconds until the answer's headers: in the gateway itself, and in the backend."""
    total = now - exchange.started
    if exchange.backend is None:
        return (b"server-timing", b"gateway;dur=%.3f" % (total * 1000))
    ours = max(0.0, total - exchange.backend)
    return (b"server-timing", b"gateway;dur=%.3f, backend;dur=%.3f" % (ours * 1000, exchange.backend * 1000))


def debug_field(exchange: Exchange) -> Header:
    """Each step's verdict, and when it was reached in milliseconds, in Server-Timing's form."""
    steps = exchange.steps or ()
    text = ", ".join(
        f'{step.replace(" ", "-")};dur={at * 1000:.3f};desc="{_quoted(verdict)}"' for step, verdict, at in steps
    )
    return (b"x-gateway-debug", text.encode("ascii", "backslashreplace"))


def _quoted(text: str) -> str:
    return text.translate({34: "'", 92: "/"} | dict.fromkeys(range(32)))
