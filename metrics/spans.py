"""The spans of a finished request, from its exchange: one for the request and one for each step it reached."""

from typing import Final

import msgspec

from metrics.counting.observer import KNOWN_METHODS
from metrics.request_log import steps
from metrics.request_log.steps import (
    ATTEMPT,
    AUTHENTICATION,
    BACKEND_CALL,
    CACHE_CHECK,
    CIRCUIT_BREAKER,
    RATE_LIMIT,
    REQUEST_ID,
    RETURN,
    SERVICE_ROUTER,
    STORE,
)
from routing import errors
from routing.exchange import Exchange

Attribute = str | int

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
"""In the order of the pipeline; a request may return from any of them."""
STEP_OF_ERROR: Final = {code: step for code, step in steps.STEP_OF_ERROR.items() if step in STEPS}
"""The step that raises each error, by its code."""


class StepSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One of the nine steps. Times are seconds since the request started; `error` is an error code.

    `events` are the attempts of the backend call: how each ended, and when.
    """

    name: str
    start: float
    end: float
    verdict: str = ""
    error: str = ""
    events: tuple[tuple[str, float], ...] = ()


def step_spans(exchange: Exchange, duration: float) -> list[StepSpan]:
    """The steps that the request reached. Each starts when the previous one ends; unlogged steps took no time."""
    log = exchange.step_log.entries() if exchange.step_log is not None else ()
    marks = {name: (verdict, at) for name, verdict, at in log}
    attempts = tuple((f"{name}: {verdict}", at) for name, verdict, at in log if name.startswith(ATTEMPT))
    if attempts:
        marks[BACKEND_CALL] = attempts[-1]
    error = exchange.call_error or exchange.error_code
    last = _last_step(exchange, marks, error)
    returned = marks[RETURN][1] if RETURN in marks else duration
    spans: list[StepSpan] = []
    end = 0.0
    for name in STEPS[: STEPS.index(last) + 1]:
        start = end
        verdict, end = marks.get(name, ("", start))
        spans.append(
            StepSpan(
                name=name,
                start=start,
                end=max(returned, start) if name == last else end,
                verdict=verdict or _default_verdict(exchange, name),
                error=error if name == last and error in STEP_OF_ERROR else "",
                events=attempts if name == BACKEND_CALL else (),
            )
        )
    if RETURN in marks:
        spans.append(StepSpan(name=RETURN, start=max(returned, end), end=max(duration, end), verdict=marks[RETURN][0]))
    return spans


def _last_step(exchange: Exchange, marks: dict[str, tuple[str, float]], error: str) -> str:
    """The step in which the request returned."""
    if error in STEP_OF_ERROR:
        return STEP_OF_ERROR[error]
    if BACKEND_CALL in marks and exchange.cache_slot is not None:
        return STORE
    return max((name for name in marks if name in STEPS), key=STEPS.index, default=REQUEST_ID)


def _default_verdict(exchange: Exchange, name: str) -> str:
    """The verdict of a step that has logged none."""
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
    """The request's attributes, by OpenTelemetry's semantic conventions for HTTP servers.

    Without the query, credentials and addresses, which may be confidential.
    """
    request, method = exchange.request, exchange.request.method
    known = method if method in KNOWN_METHODS else "_OTHER"
    values: dict[str, Attribute] = {
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
    return {name: value for name, value in values.items() if value != ""}


def route(exchange: Exchange) -> str:
    """The pattern of the matched route, with the service's prefix; "" without one."""
    match = exchange.resolution.match
    return f"{exchange.prefix.decode('latin-1')}{match.pattern}" if match else ""


def call_attributes(exchange: Exchange, attempts: tuple[tuple[str, float], ...]) -> dict[str, Attribute]:
    """The backend call's attributes, without the backend's address."""
    values: dict[str, Attribute] = {"http.request.method": exchange.request.method}
    if exchange.call.retries:
        values["http.request.resend_count"] = exchange.call.retries
    verdict = attempts[-1][0].partition(": ")[2].partition(" ")[0] if attempts else ""
    return values | ({"http.response.status_code": int(verdict)} if verdict.isdigit() else {})
