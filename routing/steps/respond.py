"""Step 9: the response as it is returned, with the gateway's header fields, and its accounting."""

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import ceil, inf
from typing import Final

from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.window import Decision
from routing.caller import DEBUG
from routing.consumers.limit_state import LimitState
from routing.errors import GatewayError, InternalError, QuotaExceeded, RateLimited
from routing.exchange import Exchange
from routing.http import CLIENT_GONE, Header, Headers, Request, Response, first
from routing.messages.comments import with_comments
from routing.messages.cors import Cors
from routing.messages.response_body import Relay
from routing.messages.staff_origin import SANDBOX
from routing.messages.step_log import StepLog
from routing.observability.events import Observers, RequestFinished
from routing.problems import problem
from routing.router.resolution import UNRESOLVED
from routing.steps.metering import Meter
from routing.steps.request_log import NO_REQUEST_LOG, RequestLog

log = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST: Final = 499
"""nginx's status for a client that did not wait for the response."""
FIRST_ERROR: Final = 400
_OVER_A_LIMIT: Final = frozenset({RateLimited.code, QuotaExceeded.code})
SWITCHING_PROTOCOLS: Final = 101
"""A WebSocket goes on after it."""


class Accounting:
    """`timer` is monotonic seconds, as the exchanges' own. `meter` counts usage, if that is wanted; `request_log`
    records single requests.
    """

    def __init__(
        self,
        observers: Observers,
        timer: Callable[[], float],
        meter: Meter | None = None,
        request_log: RequestLog = NO_REQUEST_LOG,
    ) -> None:
        self._observers = observers
        self._timer = timer
        self._meter = meter
        self._request_log = request_log

    def streaming(self, exchange: Exchange, response: Response) -> None:
        """Account for a relayed body when it ends; for an event stream, which has no end, now."""
        body, status = response.body, response.status
        if isinstance(body, Relay):
            if self._meter is not None:
                self._meter.opened(exchange, body, status)
            body.on_end(lambda passed, aborted: self.finished(exchange, status, passed, aborted))
        else:
            self.finished(exchange, status)

    def aborted(self, exchange: Exchange) -> None:
        """The client went away before there was a response."""
        self.finished(exchange, CLIENT_CLOSED_REQUEST, 0, CLIENT_GONE)

    def finished(self, exchange: Exchange, status: int, size: int = 0, aborted: str = "") -> None:
        """`size` is the body's bytes as sent; `aborted` is why it stopped short, empty if it did not."""
        if exchange.slots is not None and status != SWITCHING_PROTOCOLS:
            exchange.slots.release()
        resolution, request, caller, call = exchange.resolution, exchange.request, exchange.caller, exchange.call
        match, circuit = resolution.match, exchange.circuit
        # By position, in Finished's order: by keyword it takes seven times as long, 0.8 us of every request.
        event = RequestFinished(
            exchange.received_at,
            exchange.id,
            request.method,
            resolution.path or request.path.decode("latin-1"),
            status,
            self._timer() - exchange.started,
            call.seconds,
            resolution.service.name if resolution.service else "",
            match.pattern if match else "",
            caller.id if caller else "",
            request.client,
            exchange.cache.x_cache,
            exchange.error_code if status >= FIRST_ERROR else "",  # not of a configured response, which is none
            circuit.state,
            size,
            aborted,
            call.error or circuit.error,
            call.retries,
            call.target.url if call.target else "",
            call.reason,
            exchange.fallback,
            call.outcome or "",
        )
        self._observers.finished(event)
        if self._meter is not None:
            self._meter.finished(exchange, event)
        if exchange.step_log is not None or status >= FIRST_ERROR or aborted or event.call:
            self._report(exchange, event)

    def _report(self, exchange: Exchange, event: RequestFinished) -> None:
        """What is done for few requests: those that have failed, have waited or were sampled."""
        caller = exchange.caller
        has_failed = event.status >= FIRST_ERROR or event.aborted
        if has_failed and caller is not None and caller.subscription is not None:
            self._observers.failed(caller.subscription, event)
        self._request_log.finished(exchange, event)


class Responder:
    """`unresolved_cors` returns the policy for a request that could not be resolved. `timer` is monotonic seconds.
    `not_asked` are the limits of the caller that have not decided about a refused request.
    """

    def __init__(
        self,
        unresolved_cors: Callable[[Request], Cors | None],
        accounting: Accounting,
        timer: Callable[[], float],
        not_asked: Callable[[Exchange], Sequence[LimitState]] | None = None,
    ) -> None:
        self._unresolved_cors = unresolved_cors
        self._not_asked = not_asked
        self._accounting = accounting
        self._timer = timer

    def respond(self, exchange: Exchange, response: Response) -> Response:
        """Step 9. The response is complete; a streamed body is accounted for when it ends."""
        self._add_fields(exchange, response.headers)
        if exchange.step_log is not None:
            exchange.mark("return", str(response.status), self._timer())
            if exchange.step_log.shown and _may_read_steps(exchange, exchange.step_log):
                response.headers.append(debug_field(exchange))
        body = response.body
        if type(body) is bytes:
            if not response.framed:
                _frame(response, body)
            if exchange.request.method == "HEAD":
                response.body = body = b""
            self._accounting.finished(exchange, response.status, len(body))
        else:
            self._accounting.streaming(exchange, response)
            match = exchange.resolution.match
            if match is not None and not isinstance(body, bytes) and exchange.request.method != "HEAD":
                response.body = with_comments(body, response.status, response.headers, match.policy.timeout.ping)
        return response

    def error(self, exchange: Exchange, error: Exception) -> Response:
        """The problem document for an error. One that is no GatewayError is logged, and its text not disclosed."""
        if not isinstance(error, GatewayError):
            log.error("request %s failed inside the gateway", exchange.id, exc_info=error)
            error = InternalError("the request could not be handled")
        exchange.error_code = error.code
        # Errors are memoised, and kept by a call that has failed; their tracebacks would keep this request's objects.
        return problem(error.with_traceback(None), exchange.id)

    def refusal(self, exchange: Exchange, error: GatewayError) -> Response:
        """The response to a handshake that is refused, with the fields of any other error. Nothing is accounted."""
        exchange.error_code = error.code
        response = problem(error, exchange.id)
        self._add_fields(exchange, response.headers)
        return response

    def _add_fields(self, exchange: Exchange, headers: Headers) -> None:
        headers += ((b"x-request-id", exchange.id.encode()), timing_field(exchange, self._timer()))
        cache = exchange.cache
        if cache.cache_status:
            headers.append((b"x-cache", cache.x_cache.encode()))
            headers.append((b"cache-status", cache.cache_status.encode()))
        if exchange.decision is not None:
            if exchange.plan_limits or exchange.error_code or exchange.quota.name != "default":
                headers += self._limit_fields(exchange, exchange.decision)
            else:
                headers += rate_fields(exchange.quota.policy, exchange.decision)
        if exchange.circuit.state:
            headers.append((b"x-circuit-state", exchange.circuit.state.encode()))
        if exchange.resolution.sandboxed:
            headers += SANDBOX
        cors = exchange.resolution.cors
        if cors is None and exchange.resolution is UNRESOLVED:
            cors = self._unresolved_cors(exchange.request)
        if cors is not None:
            cors.add_fields(exchange.request, headers)

    def _limit_fields(self, exchange: Exchange, decision: Decision) -> Headers:
        """Also of the limits that a refused request was not counted by."""
        others: Sequence[LimitState] = ()
        if self._not_asked is not None and exchange.error_code in _OVER_A_LIMIT:
            others = self._not_asked(exchange)
        if exchange.plan_limits or others or exchange.quota.name != "default":
            return limit_fields(exchange, decision, others)
        return rate_fields(exchange.quota.policy, decision)


def rate_fields(policy: RatePolicy, decision: Decision) -> Headers:
    """The limit and what is left of it (draft-ietf-httpapi-ratelimit-headers-10)."""
    return [
        _policy_field(policy.limit, policy.window),
        (b"ratelimit", b'"default";r=%d;t=%d' % (decision.remaining, ceil(decision.reset))),
    ]


def limit_fields(exchange: Exchange, decision: Decision, others: Sequence[LimitState]) -> Headers:
    """All limits that hold for the request, the narrowest first. Of those whose rest is not known, only the policy."""
    policy, window, reset = exchange.quota.policy, ceil(exchange.quota.policy.window), ceil(decision.reset)
    first = LimitState(exchange.quota.name, policy.limit, window, decision.remaining, reset)
    states = [*exchange.plan_limits, *others, first]
    states.sort(key=lambda state: inf if state.remaining is None else state.remaining)
    policies = ", ".join(f'"{state.name}";q={state.limit};w={state.window}' for state in states)
    known = [state for state in states if state.remaining is not None]
    limits = ", ".join(f'"{state.name}";r={state.remaining};t={state.reset}' for state in known)
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", limits.encode())]


@lru_cache(maxsize=256)
def _policy_field(limit: int, window: float) -> Header:
    return (b"ratelimit-policy", b'"default";q=%d;w=%d' % (limit, window))


def timing_field(exchange: Exchange, now: float) -> Header:
    """Milliseconds until the response's header fields: in the gateway itself, and in the backend."""
    total, backend = now - exchange.started, exchange.call.seconds
    if backend is None:
        return (b"server-timing", b"gateway;dur=%.3f" % (total * 1000))
    own = max(0.0, total - backend)
    return (b"server-timing", b"gateway;dur=%.3f, backend;dur=%.3f" % (own * 1000, backend * 1000))


def _may_read_steps(exchange: Exchange, steps: StepLog) -> bool:
    return steps.is_readable or (exchange.caller is not None and exchange.caller.has_scope(DEBUG))


def debug_field(exchange: Exchange) -> Header:
    """Each step's verdict, and when it was reached in milliseconds, in the form of Server-Timing."""
    steps = exchange.step_log.entries() if exchange.step_log is not None else ()
    text = ", ".join(
        f'{step.replace(" ", "-")};dur={at * 1000:.3f};desc="{_quoted(verdict)}"' for step, verdict, at in steps
    )
    return (b"x-gateway-debug", text.encode("ascii", "backslashreplace"))


def _quoted(text: str) -> str:
    return text.translate({34: "'", 92: "/"} | dict.fromkeys(range(32)))


def _frame(response: Response, body: bytes) -> None:
    """Add the length of a whole body."""
    if response.status not in (204, 304) and first(response.headers, b"content-length") is None:
        response.headers.append((b"content-length", b"%d" % len(body)))
