"""What is counted of two decisions, and what records stand for."""

from typing import Any

import msgspec
import pytest

from metrics.replay.comparison import EXAMPLES_OF_A_KIND, compare
from metrics.replay.decision import Decision, Verdict
from metrics.replay.recorded_call import Observed
from metrics.replay.recorded_request import Omission, omission_of, request_of
from metrics.request_log.record import RecordKind, RequestRecord, StepRecord

RECORD = RequestRecord(
    at=1.0, id="r", kind=RecordKind.SAMPLED, method="GET", path="/api/v1/crm/x", service="crm", status=200
)
ROUTED = Decision(Verdict.ROUTED, "crm", "/x", 200, "", "MISS", "300 s, per user", "k1", "")
LIMITED = msgspec.structs.replace(ROUTED, verdict=Verdict.LIMITED, status=429, code="rate_limited", cache_key="")


def record(**changes: Any) -> RequestRecord:
    return msgspec.structs.replace(RECORD, **changes)


def test_sampled_records_count_by_their_share() -> None:
    records = [record(share=0.01), record(), record(share=0.5), record()]
    found = compare(records, [ROUTED] * 4, [LIMITED, ROUTED, ROUTED, None])
    assert (found.replayed.records, found.replayed.requests) == (3, 103)
    assert (found.changed.records, found.changed.requests) == (1, 100)
    assert found.draft[Verdict.LIMITED].requests == 100
    assert [(each.now, each.draft) for each in found.transitions] == [(Verdict.ROUTED, Verdict.LIMITED)]
    assert found.services[0].changed.requests == 100


def test_another_way_of_storing_is_no_other_verdict() -> None:
    other = msgspec.structs.replace(ROUTED, cache_key="k2", cache_rule="60 s, per user")
    found = compare([RECORD] * 20, [ROUTED] * 20, [other] * 20)
    assert (found.changed.records, found.cache_changed.records) == (0, 20)
    assert found.differences.keys() == {"cache_rule", "cache_key"}
    assert [each.index for each in found.examples] == list(range(19, 19 - EXAMPLES_OF_A_KIND, -1))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": 101}, Omission.WEBSOCKET),
        ({"caller": "staff:ada"}, Omission.STAFF),
        ({"method": "OPTIONS", "service": ""}, Omission.PREFLIGHT),
        ({"path": "/api/events", "service": ""}, Omission.ENDPOINT),
        ({"path": "/" + "x" * 1_998 + "\u2026"}, Omission.TOO_LONG),
        ({"path": "/api/v1/nothing", "service": ""}, None),
        ({}, None),
    ],
)
def test_what_cannot_be_decided_again_is_left_out(changes: dict[str, Any], reason: Omission | None) -> None:
    assert omission_of(record(**changes)) is reason


@pytest.mark.parametrize(
    ("status", "rule", "headers"),
    [
        ("gateway; fwd=uri-miss; stored; ttl=300", "300 s, per user", {}),
        ("gateway; fwd=uri-miss; stored; ttl=20", "300 s, per user", {b"cache-control": b"max-age=20"}),
        ('gateway; fwd=stale; detail="the response says no-store"', "300 s, per user", {b"cache-control": b"no-store"}),
        ('gateway; fwd=stale; detail="the response is already stale"', "0 s, per user", {}),
        ("gateway; fwd=uri-miss; stored; ttl=20", "20 s, per user, override", {}),
        ("gateway; fwd=bypass; detail=off", "off", {}),
    ],
)
def test_what_backends_said_of_storing_follows_from_the_record(
    status: str, rule: str, headers: dict[bytes, bytes]
) -> None:
    miss = record(cache="MISS", cache_status=status, cache_rule=rule, target="http://127.0.0.1:9", backend=0.5)
    hit = record(cache="HIT", cache_status="gateway; hit; ttl=9", cache_rule=rule)
    observed = Observed([miss, hit])
    assert dict(observed.call(miss).headers) == dict(observed.call(hit).headers) == headers
    assert [attempt.seconds for attempt in observed.call(hit).attempts] == [0.5]


def test_each_attempt_is_played_as_it_was() -> None:
    steps = (
        StepRecord("backend call, attempt 1", "bad_gateway (refused) with 900 of 1000 ms left"),
        StepRecord("backend call, attempt 2", "503 with 800 of 1000 ms left"),
        StepRecord("backend call, attempt 3", "200"),
    )
    call = Observed([]).call(record(target="http://127.0.0.1:9", backend=0.3, steps=steps, retries=2))
    assert [(attempt.error, attempt.status) for attempt in call.attempts] == [
        ("bad_gateway", 200),
        ("", 503),
        ("", 200),
    ]


def test_unrecorded_values_are_the_same_only_if_the_cache_keys_were() -> None:
    first, same, other = (
        request_of(record(query="q=***&page=2", cache_key=key), index, []) for index, key in enumerate(("aa", "aa", ""))
    )
    assert first.query == same.query == b"q=aa&page=2"
    assert other.query != first.query
