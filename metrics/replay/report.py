"""A replay's result as JSON, and what a recorded decision cannot tell."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from django.urls import reverse

from metrics.replay.comparison import Count, Example
from metrics.replay.decision import Decision, Verdict
from metrics.replay.replay import Replay
from metrics.request_log.search import FoundRecord
from metrics.timestamps import iso_timestamp
from routing.errors import Unauthenticated

_CAMEL: Final = {"cache_rule": "cacheRule", "cache_key": "cacheKey"}
UNKNOWN: Final = (
    "Header fields, bodies and values of queries are not recorded. Two requests with such values count as the same "
    "only if their cache keys were; conditions on header fields or on bodies do not hold."
)
COLD: Final = (
    "Both configurations begin with the first request: with an empty cache, closed circuits, and limits and quotas of "
    "which nothing is used."
)
CALLERS: Final = "Callers have the scopes and the plans that they have now; tokens count as having no scopes."
BACKENDS: Final = (
    "Backends respond as they did. One that was not called is assumed to succeed, in the median time of its route or "
    "service."
)


def to_document(replay: Replay) -> dict[str, Any]:
    comparison = replay.comparison
    return {
        "replayed": _count(comparison.replayed),
        "changed": _count(comparison.changed),
        "cacheChanged": _count(comparison.cache_changed),
        "now": {verdict.value: _count(count) for verdict, count in comparison.now.items()},
        "draft": {verdict.value: _count(count) for verdict, count in comparison.draft.items()},
        "transitions": [
            {"now": each.now.value, "draft": each.draft.value, **_count(each.count)} for each in comparison.transitions
        ],
        "differences": {_CAMEL.get(name, name): _count(count) for name, count in comparison.differences.items()},
        "services": [
            {"service": each.service, **_count(each.count), "changed": _count(each.changed)}
            for each in comparison.services
        ],
        "examples": [_example(each, replay.records[each.index]) for each in comparison.examples],
        "omitted": {reason.name.lower(): number for reason, number in replay.omitted.items()},
        "configuration": replay.draft.diff.to_document(),
        "warnings": list(replay.draft.warnings),
        "notes": list(notes(replay)),
        "seconds": round(replay.seconds, 3),
    }


def notes(replay: Replay) -> Iterator[str]:
    """The limits of the result, in sentences."""
    if not replay.is_shared:
        yield "Redis is unavailable: only requests that this worker has not stored yet were replayed."
    if replay.sampled:
        yield (
            f"{replay.sampled:,} of the requests are a sample and stand for {replay.sampled_requests:,.0f}, so that "
            "these numbers are estimates. Limits count the recorded requests alone: more may be limited than is shown. "
            "With `request_log: {sample: 1}` all are recorded."
        )
    if replay.unrecorded:
        yield f"{replay.unrecorded:,} requests are missing in the log, because too many came at once."
    for reason, number in replay.omitted.items():
        yield f"{number:,} {'request was' if number == 1 else 'requests were'} not replayed: {reason}."
    anonymous = sum(1 for each in replay.comparison.examples if _lacks_credential(each, replay.records[each.index]))
    if anonymous:
        yield (
            "Of requests to routes that read no credential, no caller is recorded: where the draft requires one, they "
            "count as refused."
        )
    yield from (UNKNOWN, COLD, CALLERS, BACKENDS)


def request_url(found: FoundRecord) -> str:
    return f"{reverse('dashboard:request', args=(found.record.id,))}?at={found.position}"


def _lacks_credential(example: Example, found: FoundRecord) -> bool:
    is_refused = example.draft.verdict is Verdict.REFUSED and example.draft.code == Unauthenticated.code
    return is_refused and example.now.verdict is not Verdict.REFUSED and not found.record.caller


def _count(count: Count) -> dict[str, Any]:
    """The count, with whole numbers as integers."""
    requests = int(count.requests) if float(count.requests).is_integer() else count.requests
    return {"records": count.records, "requests": requests}


def _example(example: Example, found: FoundRecord) -> dict[str, Any]:
    record = found.record
    at = iso_timestamp(record.at)
    return {
        "id": record.id,
        "position": str(found.position),
        "time": at,
        "method": record.method,
        "target": record.target_path,
        "caller": record.caller,
        "recorded": {"status": record.status, "code": record.code, "cache": record.cache},
        "now": _decision(example.now),
        "draft": _decision(example.draft),
        "differences": [_CAMEL.get(name, name) for name in example.differences],
    }


def _decision(decision: Decision) -> dict[str, Any]:
    """Without the cache key: it is another one in each replay."""
    found = msgspec.to_builtins(decision)
    return {_CAMEL.get(name, name): value for name, value in found.items() if name != "cache_key"}
