"""One request on its way through the steps: a record for each step, written by that step alone.

`tests/routing/test_exchange.py` checks which module writes which attribute.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from resilience.cache.driver import StoreTarget
from resilience.cache.flights import Flight
from resilience.cache.messages import CacheRequest, LookupResult
from resilience.holdoff.driver import Probe
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.window import Decision
from resilience.statuses import FAILURE_STATUSES
from resilience.usage.slots import HeldSlots
from routing.authentication.authenticator import Credential
from routing.authentication.proof import PresentedProof, Proof
from routing.caller import Caller
from routing.consumers.limit_state import LimitState
from routing.credentials.holder import UsedCredential
from routing.errors import GatewayError
from routing.http import IDEMPOTENT, Headers, Request
from routing.messages.bodies import resumed
from routing.messages.identifiers import new_id, request_id
from routing.messages.outcome import OutcomeClass
from routing.messages.references import PublicAddress
from routing.messages.request_body import Upload
from routing.messages.step_log import StepLog, Verdict
from routing.router.policy import Target
from routing.router.resolution import UNRESOLVED, CallerSlot, Grant, Quota, Resolution
from routing.router.table import Match
from routing.upstream.call import BackendCall, CallPermit


class InternalEndpoint(NamedTuple):
    """An endpoint that the gateway itself serves, and the rate limit of each of its callers."""

    name: str
    rate: RatePolicy


class CacheSlot(msgspec.Struct):
    """Steps 5 and 8: where the response is or would be stored, and what the lookup found there.

    `flight` is the fetch that other requests wait for, if this request makes it. `headers` replace the client's while a
    stored response is revalidated, and `validates` says whether they ask for a 304 that is about it.
    """

    target: StoreTarget
    request: CacheRequest
    result: LookupResult
    flight: Flight | None = None
    headers: Headers | None = None
    validates: bool = False


class RequestContent(msgspec.Struct, frozen=True):
    """Step 5: content that is part of the cache key, its part `key`, and the `values` of the fields that tags name."""

    body: bytes
    key: bytes
    values: Mapping[str, str]


class CacheOutcome(msgspec.Struct, frozen=True, gc=False):
    """Steps 5 and 8: what the cache did. `x_cache` and `cache_status` are the values of these fields; `cache_status`
    is empty where the response's header fields contain it already.
    """

    x_cache: str = ""
    cache_status: str = ""


class PresentedCredential(NamedTuple):
    """Steps 2 and 3: what a client certificate or a signature has shown. `error`: why it is not accepted. `replay_id`
    is that of a signature's nonce, which must not be accepted again before `until`, in Unix time.
    """

    proof: PresentedProof | None = None
    error: GatewayError | None = None
    replay_id: str = ""
    until: float = 0.0


class Circuit(msgspec.Struct, frozen=True):
    """Step 6: the permit for the call, or the error's code where it was refused. `state` is empty while CLOSED.

    `probes` are those of hold-offs that have ended.
    """

    permit: CallPermit | None = None
    state: str = ""
    error: str = ""
    probes: tuple[Probe, ...] = ()


class CallRecord(msgspec.Struct):
    """Step 7: the call to the backend. `seconds` is the time until its response's header fields, None without one;
    `error` is the code of the error that ended it, `reason` why it failed, for operators only. `upload` is the body of
    the request; `sent`: whether a backend that failed has got any of it. `outcome` is the response's class, if any.
    """

    call: BackendCall | None = None
    target: Target | None = None
    retries: int = 0
    seconds: float | None = None
    error: str = ""
    reason: str = ""
    upload: Upload | None = None
    sent: bool = False
    outcome: OutcomeClass | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the response is a failure of the service, by its class, or by its status if it has none."""
        if self.outcome is not None:
            return self.outcome is OutcomeClass.FAILED
        return self.call is not None and self.call.response.status in FAILURE_STATUSES

    @property
    def is_replaceable(self) -> bool:
        """Whether a stale response or that of a fallback service may be sent instead of the response."""
        return self.outcome is OutcomeClass.LIMITED or self.has_failed


class Exchange:
    """`started` is monotonic seconds, `received_at` Unix time. `caller_slot`, `match` and `quota` exist from their
    steps on. Defaults are class attributes: most are never set, and assigning all of them for each request would cost
    as much as a step.
    """

    endpoint: InternalEndpoint | None = None
    step_log: StepLog | None = None
    resolution: Resolution = UNRESOLVED
    quota: Quota  # 2 rate limit
    decision: Decision | None = None
    caller: Caller | None  # 3 authentication
    presented: PresentedCredential | None = None
    caller_slot: CallerSlot
    match: Match  # 4 service router
    plan_limits: tuple[LimitState, ...] = ()  # plan, where there are consumers
    slots: HeldSlots | None = None
    cache = CacheOutcome()  # 5 cache check, 8 store
    cache_slot: CacheSlot | None = None
    content: RequestContent | None = None
    model = ""  # before 6, where limits of the backend are each model's own
    circuit = Circuit()  # 6 circuit breaker
    used_credential: UsedCredential | None = None  # before 7, where the route has a credential
    call: CallRecord  # 7 backend call
    error_code = ""  # 9 return
    fallback = ""
    """The other service that has responded in place of this one."""
    has_client = True
    """False where the response is fetched only to be stored: a fallback service's response would be of no use."""

    def __init__(self, request: Request, identifier: str, received_at: float, started: float) -> None:
        self.request = request
        self.id = identifier
        self.received_at = received_at
        self.started = started
        self.caller = request.caller

    @classmethod
    def begin(cls, request: Request, received_at: float, started: float) -> "Exchange":
        """Step 1: a well-formed request id of the client is kept, any other is replaced."""
        fields = request.fields
        sent = fields.get(b"x-request-id")
        identifier = request_id(sent, received_at) if sent else new_id(received_at)
        exchange = cls(request, identifier, received_at, started)
        if b"x-gateway-debug" in fields and fields[b"x-gateway-debug"] == b"1":
            exchange.log_steps().shown = True
        return exchange

    def background_copy(self, headers: Headers, received_at: float, started: float) -> "Exchange":
        """The same request as a GET with these header fields and without a client: to revalidate in the background. One
        whose content is part of the cache key has its method and its content.
        """
        request, method = self.request, "POST" if self.request.method == "POST" else "GET"
        copy = Request(method, request.path, request.query, headers, request.client, request.scheme)
        exchange = Exchange(copy, self.id, received_at, started)
        exchange.content = self.content
        exchange.rewind()
        exchange.caller, exchange.resolution = self.caller, self.resolution
        exchange.caller_slot, exchange.match = self.caller_slot, self.match
        exchange.has_client = False
        return exchange

    def rewind(self) -> None:
        """Let content that is part of the cache key be sent from its start."""
        if self.content is not None and self.content.body:
            self.request.body = resumed([self.content.body])

    @property
    def is_repeatable(self) -> bool:
        """Whether the request may be sent twice: by its method, or as a POST that the configuration says only reads."""
        return self.request.method in IDEMPOTENT or self.content is not None

    def rerouted(self, request: Request, match: Match) -> "Exchange":
        """The same request to another service, whose response the client gets in place of this service's."""
        exchange = Exchange(request, self.id, self.received_at, self.started)
        exchange.caller, exchange.step_log = self.caller, self.step_log
        exchange.resolution, exchange.match = self.resolution.rerouted(match), match
        exchange.caller_slot = CallerSlot(self.caller, Grant(self.caller, match.policy, None))
        return exchange

    def answered_by(self, other: "Exchange", code: str, reason: str) -> None:
        """Record that another service has responded, and the error and reason for which it was called."""
        failed, call = self.call, other.call
        call.error, call.reason = failed.error or self.circuit.error or code, failed.reason or reason
        call.retries += failed.retries
        self.call, self.fallback = call, other.service

    def uncounted(self, decision: Decision) -> None:
        """Record that the rate that step 2 has counted this request in got it back, since another limit refused it."""
        self.decision = msgspec.structs.replace(decision, granted=0, remaining=decision.remaining + 1)

    def failed(self, code: str) -> None:
        """Record the error for which a configured response is returned."""
        self.error_code = code

    def without_client(self) -> "Exchange":
        self.has_client = False
        return self

    @property
    def credential(self) -> Credential | None:
        return self.resolution.credential_state.credential

    @property
    def proof(self) -> Proof | None:
        """What identified the caller. A certificate or a signature may have been accepted beside a credential."""
        presented = self.presented
        return self.credential if presented is None or presented.proof is None else presented.proof

    @property
    def call_error(self) -> str:
        """The code of the error for which there is no response of the backend, empty if there is one."""
        return self.call.error or self.circuit.error

    @property
    def prefix(self) -> bytes:
        """The part of the path that is the gateway's: empty under a service's own host."""
        return self.resolution.prefix

    @property
    def service(self) -> str:
        """The name of the service that the request is for, also where none of its routes is."""
        service = self.resolution.service
        return service.name if service else ""

    @property
    def used_part(self) -> str:
        """What the request uses: the service's name, or that of an internal endpoint."""
        return self.service or (self.endpoint.name if self.endpoint else "")

    @property
    def public_address(self) -> PublicAddress:
        """Where the client sees the service."""
        request = self.request
        return PublicAddress(self.prefix, request.fields.get(b"host", b""), request.scheme, self.match.path)

    def log_steps(self) -> StepLog:
        """Keep a step log from now on, if none is kept yet."""
        if self.step_log is None:
            self.step_log = StepLog()
        return self.step_log

    def mark(self, step: str, verdict: Verdict, now: float) -> None:
        """Log a step's verdict, if a step log is kept. `now` is monotonic seconds."""
        if self.step_log is not None:
            self.step_log.append((step, verdict, now - self.started))


_NO_CALL = CallRecord()
Exchange.call = _NO_CALL
