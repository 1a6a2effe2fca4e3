"""The record of a request that has ended, from its exchange and its event."""

from typing import Any, Final

import msgspec

from metrics.request_log.record import MAX_PATH, RecordKind, RequestRecord, StepRecord, cut, mask_query
from metrics.request_log.steps import (
    ATTEMPT,
    AUTHENTICATION,
    BACKEND_CALL,
    RATE_LIMIT,
    REQUEST_ID,
    RETURN,
    SERVICE_ROUTER,
    STEP_OF_ERROR,
)
from resilience.cache.policy import CachePolicy
from routing.exchange import Exchange
from routing.http import CLIENT_GONE, joined
from routing.messages.identifiers import TRACEPARENT
from routing.messages.outcome import OutcomeClass
from routing.messages.selecting_fields import SELECTING_FIELDS
from routing.observability.events import RequestFinished
from routing.router.request_log_policy import RequestLogPolicy

MAX_METHOD: Final = 32
"""Characters of a method, which a client may choose freely."""
_EARLY: Final = (RATE_LIMIT, AUTHENTICATION, SERVICE_ROUTER)
"""Steps that a request may take before its steps are logged."""


def kind_of(
    policy: RequestLogPolicy, exchange: Exchange, event: RequestFinished, *, sampled: bool
) -> RecordKind | None:
    """Why the request is recorded, or None if it is not."""
    if policy.failures:
        if _has_failed(event):
            return RecordKind.FAILED
        if event.status >= 400 or event.aborted:
            return RecordKind.CLIENT_ERROR
    if policy.slow is not None and exchange.step_log is not None and head_seconds(exchange, event) > policy.slow:
        return RecordKind.SLOW
    return RecordKind.SAMPLED if sampled else None


def _has_failed(event: RequestFinished) -> bool:
    if event.status >= 500 or (event.aborted and event.aborted != CLIENT_GONE):
        return True
    return bool(event.call and event.status < 400) or event.outcome in (OutcomeClass.FAILED, OutcomeClass.LIMITED)


def head_seconds(exchange: Exchange, event: RequestFinished) -> float:
    """The time until the response's header fields; until the end of a request that had none."""
    log = exchange.step_log
    return log[-1][2] if log and log[-1][0] == RETURN else event.duration


def build_record(
    exchange: Exchange, event: RequestFinished, kind: RecordKind, configuration: int, share: float = 1.0
) -> RequestRecord:
    """`configuration` is the version of the route table that decided, `share` as in RequestRecord."""
    match = exchange.resolution.match
    return RequestRecord(
        at=event.at,
        id=event.request_id,
        kind=kind,
        service=event.service,
        route=event.route,
        also=match.also if match is not None else (),
        status=event.status,
        code=event.code,
        call=event.call,
        reason=cut(event.reason),
        aborted=event.aborted,
        outcome=event.outcome,
        fallback=event.fallback,
        circuit=event.circuit,
        target=cut(event.target),
        retries=event.retries,
        duration=event.duration,
        head=head_seconds(exchange, event),
        backend=event.backend,
        bytes=event.bytes,
        configuration=configuration,
        trace=_trace(exchange),
        share=share,
        steps=tuple(_steps(exchange, event)),
        **_request_fields(exchange, event),
        **_cache_fields(exchange, event),
    )


def _request_fields(exchange: Exchange, event: RequestFinished) -> dict[str, Any]:
    """What was requested, and by whom."""
    request, caller = exchange.request, exchange.caller
    subscription = caller.subscription if caller is not None else None
    return {
        "method": cut(event.method, MAX_METHOD),
        "scheme": request.scheme,
        "host": cut(request.fields.get(b"host", b"").decode("latin-1")),
        "path": cut(event.path, MAX_PATH),
        "query": cut(mask_query(request.query), MAX_PATH),
        "client": event.client,
        "caller": cut(event.caller),
        "consumer": subscription.consumer if subscription else "",
        "team": subscription.team if subscription else "",
        "plan": subscription.plan if subscription else "",
    }


def _cache_fields(exchange: Exchange, event: RequestFinished) -> dict[str, Any]:
    match = exchange.resolution.match
    return {
        "cache": event.cache,
        "cache_status": cut(exchange.cache.cache_status),
        "cache_key": cache_key_of(exchange),
        "cache_rule": cache_rule_of(match.policy.cache) if match is not None else "",
    }


def cache_key_of(exchange: Exchange) -> str:
    """Under which key the response is or would be stored; empty if it was not looked up, or the key of a hit is not
    memoised.
    """
    if exchange.cache_slot is not None:
        return exchange.cache_slot.target.key
    is_memoised = exchange.cache.x_cache == "HIT" and SELECTING_FIELDS.isdisjoint(exchange.request.fields)
    return exchange.caller_slot.cache_key if is_memoised else ""


def cache_rule_of(policy: CachePolicy | None) -> str:
    """How responses are stored, as staff read it."""
    return (
        "off" if policy is None else f"{policy.ttl:.15g} s, per {policy.scope}{', override' if policy.override else ''}"
    )


def _trace(exchange: Exchange) -> str:
    """The id of the request's own trace, or of the client's, which the backend continues."""
    log = exchange.step_log
    if log is not None and log.trace is not None:
        return f"{log.trace.id:032x}"
    sent = TRACEPARENT.fullmatch(joined(exchange.request.headers, b"traceparent") or b"")
    return sent[1].decode() if sent else ""


def _steps(exchange: Exchange, event: RequestFinished) -> list[StepRecord]:
    """The steps that the request has taken, in their order. One that has failed has the error."""
    entries = exchange.step_log.entries() if exchange.step_log is not None else ()
    log = [(_step_name(name), cut(verdict), at) for name, verdict, at in entries]
    error = event.code or event.call
    failed = STEP_OF_ERROR.get(error, "")
    steps = [StepRecord(REQUEST_ID, event.request_id, 0.0)]
    for name in _EARLY:
        logged = [StepRecord(*mark) for mark in log if mark[0] == name]
        if not logged and (name == failed or _was_taken(exchange, name)):
            logged = [StepRecord(name, _early_verdict(exchange, name))]
        steps += logged
    steps += [StepRecord(*mark) for mark in log if mark[0] not in _EARLY and mark[0] != RETURN]
    if failed:
        _add_error(steps, failed, error)
    returned = [StepRecord(*mark) for mark in log if mark[0] == RETURN]
    return steps + (returned or [StepRecord(RETURN, str(event.status), event.duration)])


def _step_name(name: str) -> str:
    return f"{BACKEND_CALL}, {name}" if name.startswith(ATTEMPT) else name


def _add_error(steps: list[StepRecord], failed: str, error: str) -> None:
    """Add the error to the step's last entry; a step that has logged nothing gets one."""
    for number in range(len(steps) - 1, -1, -1):
        if steps[number].name.partition(",")[0] == failed:
            steps[number] = msgspec.structs.replace(steps[number], error=error)
            return
    steps.append(StepRecord(failed, error=error))


def _was_taken(exchange: Exchange, step: str) -> bool:
    if step == RATE_LIMIT:
        return exchange.decision is not None
    return exchange.caller is not None if step == AUTHENTICATION else "match" in vars(exchange)


def _early_verdict(exchange: Exchange, step: str) -> str:
    if step == RATE_LIMIT:
        return cut(exchange.quota.key) if exchange.decision is not None else ""
    if step == AUTHENTICATION:
        return cut(exchange.caller.id) if exchange.caller is not None else ""
    match = exchange.resolution.match
    return f"{match.service.name}{match.pattern}" if match is not None else ""
