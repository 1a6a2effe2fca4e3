"""A request's spans, from what its exchange noted on the way: one for the whole, one for each step it came to."""

from typing import Final

import msgspec

from metrics.counting.observer import KNOWN_METHODS
from routing import errors
from routing.exchange import Exchange

Attribute = str | int

REQUEST_ID: Final = "request id"
RATE_LIMIT: Final = "rate limit"
AUTHENTICATION: Final = "authentication"
SERVICE_ROUTER: Final = "service router"
CACHE_CHECK: Final = "cache check"
CIRCUIT_BREAKER: Final = "circuit breaker"
BACKEND_CALL: Final = "backend call"
STORE: Final = "store"
RETURN: Final = "return"
ATTEMPT: Final = "attempt "
STEPS: Final = (
    REQUEST_ID,
    RATE_LIMIT,
    AUTHENTICATION,
    SERVICE_ROUTER,
    CACHE_CHECK,
    CIRCUIT_BREAKER,
    BACKEND_CALL,
    STORE,
)
"""In the request's order; it returns from any of them."""
ENDED_IN: Final = {
    errors.RateLimited.code: RATE_LIMIT,
    errors.Unauthenticated.code: AUTHENTICATION,
    errors.AuthenticationUnavailable.code: AUTHENTICATION,
    errors.Forbidden.code: SERVICE_ROUTER,
    errors.UnknownService.code: SERVICE_ROUTER,
    errors.MethodNotAllowed.code: SERVICE_ROUTER,
    errors.ServiceDisabled.code: SERVICE_ROUTER,
    errors.BodyTooLarge.code: SERVICE_ROUTER,
    errors.NotCached.code: CACHE_CHECK,
    errors.CircuitOpen.code: CIRCUIT_BREAKER,
    errors.Overloaded.code: BACKEND_CALL,
    errors.BadGateway.code: BACKEND_CALL,
    errors.UpstreamTimeout.code: BACKEND_CALL,
}
"""The step a refusal comes from."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One of the nine, in seconds since the request began. `error` is the code of what went wrong in it.

    `events` are the call's attempts: how each ended, and when.
    """

    name: str
    start: float
    end: float
    verdict: str = ""
    error: str = ""
    events: tuple[tuple[str, float], ...] = ()


def steps(exchange: Exchange, duration: float) -> list[Step]:
    """The steps this request came to, each from the end of the one before. One that took no waiting took no time."""
    noted = exchange.step_log or ()
    marks = {name: (verdict, at) for name, verdict, at in noted}
    attempts = tuple((f"{name}: {said}", at) for name, said, at in noted if name.startswith(ATTEMPT))
    if attempts:
        marks[BACKEND_CALL] = attempts[-1]
    error = exchange.call_error or exchange.error_code
    last = _last(exchange, marks, error)
    returned = marks[RETURN][1] if RETURN in marks else duration
    found: list[Step] = []
    end = 0.0
    for name in STEPS[: STEPS.index(last) + 1]:
        start = end
        verdict, end = marks.get(name, ("", start))
        failed = error if name == last and error in ENDED_IN else ""
        found.append(
            Step(
                name=name,
                start=start,
                end=max(returned, start) if name == last else end,
                verdict=verdict or _said(exchange, name),
                error=failed,
                events=attempts if name == BACKEND_CALL else (),
            )
        )
    if RETURN in marks:
        found.append(Step(name=RETURN, start=max(returned, end), end=max(duration, end), verdict=marks[RETURN][0]))
    return found


def _last(exchange: Exchange, marks: dict[str, tuple[str, float]], error: str) -> str:
    """The step from which the request returned."""
    if error in ENDED_IN:
        return ENDED_IN[error]
    if BACKEND_CALL in marks and exchange.cache_slot is not None:
        return STORE
    return max((name for name in marks if name in STEPS), key=STEPS.index, default=REQUEST_ID)


def _said(exchange: Exchange, name: str) -> str:
    """What is known of a step that has noted nothing itself."""
    match name:
        case "request id":
            return exchange.id
        case "authentication":
            return exchange.caller.id if exchange.caller else ""
        case "cache check" | "store":
            return exchange.cache.cache_status
        case "circuit breaker":
            return exchange.circuit.state
    return ""


def attributes(exchange: Exchange, status: int, aborted: str) -> dict[str, Attribute]:
    """Of the whole request, by OpenTelemetry's semantic conventions for HTTP servers. No query, no credential, and no
    address of anybody's.
    """
    request, method = exchange.request, exchange.request.method
    known = method if method in KNOWN_METHODS else "_OTHER"
    found: dict[str, Attribute] = {
        "http.request.method": known,
        "http.request.method_original": "" if known == method else method[:32],
        "url.path": request.path.decode("latin-1"),
        "url.scheme": request.scheme,
        "network.protocol.version": request.version,
        "http.response.status_code": status,
        "http.route": route(exchange),
        "error.type": exchange.error_code or aborted or (str(status) if status >= errors.InternalError.status else ""),
        "gateway.service": exchange.service,
        "gateway.request_id": exchange.id,
        "gateway.caller": exchange.caller.id if exchange.caller else "",
        "gateway.cache": exchange.cache.x_cache,
        "gateway.circuit": exchange.circuit.state,
    }
    return {name: value for name, value in found.items() if value != ""}


def route(exchange: Exchange) -> str:
    """The route's pattern as a client would write it: few different ones, however many paths there are."""
    return (
        f"{exchange.prefix.decode('latin-1')}{exchange.resolution.match.pattern}" if exchange.resolution.match else ""
    )


def call_attributes(exchange: Exchange, attempts: tuple[tuple[str, float], ...]) -> dict[str, Attribute]:
    """Of the call to the backend, whose address stays inside."""
    found: dict[str, Attribute] = {"http.request.method": exchange.request.method}
    if exchange.call.retries:
        found["http.request.resend_count"] = exchange.call.retries
    said = attempts[-1][0].partition(": ")[2].partition(" ")[0] if attempts else ""
    return found | ({"http.response.status_code": int(said)} if said.isdigit() else {})
