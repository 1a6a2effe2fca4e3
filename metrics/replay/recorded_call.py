"""How backends behaved towards recorded requests, as far as the records tell."""

import re
from collections.abc import Iterable
from statistics import median
from typing import Final

import msgspec

from metrics.request_log.record import RequestRecord
from metrics.request_log.steps import ATTEMPT, BACKEND_CALL
from routing.errors import BadGateway, UpstreamTimeout
from routing.http import CLIENT_GONE, Headers

_ATTEMPT: Final = f"{BACKEND_CALL}, {ATTEMPT}"
_STATUS: Final = re.compile(r"([1-5][0-9]{2})\b")
_STORED: Final = re.compile(r"; stored; ttl=([0-9]+)")
_RULE: Final = re.compile(r"([0-9.e+]+) s, per ")
_NOT_STORED: Final = re.compile(r'; detail="([^"]+)"')
_STALE: Final = "the response is already stale"
_SAID: Final[dict[str, Headers]] = {
    "the response says no-store": [(b"cache-control", b"no-store")],
    "the response says private": [(b"cache-control", b"private")],
    "the response says no-cache and has no validator": [(b"cache-control", b"no-cache")],
    "the response sets a cookie": [(b"set-cookie", b"recorded=1")],
    "the response has Vary: *": [(b"vary", b"*")],
    "the response is a stream of events": [(b"content-type", b"text/event-stream")],
    _STALE: [(b"cache-control", b"max-age=0")],
}
"""What a backend must have said for a response not to be stored (resilience/cache/storing.py), by the reason."""
_OWN_FRESHNESS: Final = frozenset({"MISS", "REVALIDATED"})
_WITHOUT_CONDITIONS: Final = {206: 200, 304: 200}
"""A range or a validator of the client's is not recorded: without it, the response is the whole one."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """What a backend did with one call: the status that it returned, or the error. `seconds` until either."""

    seconds: float
    status: int = 200
    error: str = ""
    reason: str = ""


class RecordedCall(msgspec.Struct, frozen=True, gc=False):
    """How the backend behaved towards one request: `attempts` are in their order, at least one.

    `tail` is how long the body took after its header fields, `length` its bytes, `headers` what is known of the header
    fields.
    """

    attempts: tuple[Attempt, ...]
    tail: float
    length: int
    headers: tuple[tuple[bytes, bytes], ...]


class Observed:
    """What the records tell about backends, for requests that were not passed on to them: how long they took, as the
    median of the route, or else of the service or of all, and what they said of storing responses to the same path.
    """

    def __init__(self, records: Iterable[RequestRecord]) -> None:
        times: dict[tuple[str, ...], list[tuple[float, float]]] = {}
        self._freshness: dict[tuple[str, str], Headers] = {}
        for record in records:
            if record.backend is not None and record.target:
                for key in _keys(record):
                    times.setdefault(key, []).append((record.backend, _tail(record)))
            freshness = _freshness(record)
            if freshness is not None:
                self._freshness[record.service, record.path] = freshness
        self._times = {key: tuple(map(median, zip(*found, strict=True))) for key, found in times.items()}

    def call(self, record: RequestRecord) -> RecordedCall:
        """A backend that was not called would have succeeded."""
        attempts, tail = _attempts(record), _tail(record)
        if not attempts:
            seconds, tail = next((self._times[key] for key in _keys(record) if key in self._times), (0.0, 0.0))
            attempts = (Attempt(seconds, 200 if record.code else _whole(record.status)),)
        freshness = _freshness(record)
        if freshness is None:
            freshness = self._freshness.get((record.service, record.path), [])
        return RecordedCall(attempts, tail, record.bytes, tuple(freshness))


def _keys(record: RequestRecord) -> tuple[tuple[str, ...], ...]:
    """What records have in common, the most specific first."""
    return (record.service, record.route), (record.service,), ()


def _tail(record: RequestRecord) -> float:
    return 0.0 if record.aborted == CLIENT_GONE else max(0.0, record.duration - record.head)


def _attempts(record: RequestRecord) -> tuple[Attempt, ...]:
    """The attempts of the recorded call; empty if the backend was not called."""
    if not record.target:
        return ()
    verdicts = [step.verdict for step in record.steps if step.name.startswith(_ATTEMPT)]
    seconds = (record.head if record.backend is None else record.backend) / max(1, len(verdicts))
    if verdicts:
        return tuple([_attempt(record, verdict, seconds) for verdict in verdicts])
    if record.call in (BadGateway.code, UpstreamTimeout.code):
        return (Attempt(seconds, error=record.call, reason=record.reason),)
    return (Attempt(seconds, _whole(record.status)),)


def _attempt(record: RequestRecord, verdict: str, seconds: float) -> Attempt:
    status = _STATUS.match(verdict)
    if status is not None:
        return Attempt(seconds, _whole(int(status[1])))
    error = UpstreamTimeout.code if verdict.startswith(UpstreamTimeout.code) else BadGateway.code
    return Attempt(seconds, error=error, reason=record.reason)


def _whole(status: int) -> int:
    return _WITHOUT_CONDITIONS.get(status, status)


def _freshness(record: RequestRecord) -> Headers | None:
    """What the backend said of storing its response: nothing, if it was stored for as long as its route says. None if
    the record does not tell.
    """
    rule = _RULE.match(record.cache_rule)
    if record.cache not in _OWN_FRESHNESS or rule is None or record.cache_rule.endswith("override"):
        return None
    stored = _STORED.search(record.cache_status)
    if stored is not None:
        same = int(float(rule[1])) == int(stored[1])
        return [] if same else [(b"cache-control", b"max-age=" + stored[1].encode())]
    reason = _NOT_STORED.search(record.cache_status)
    if reason is None or (reason[1] == _STALE and not float(rule[1])):
        return None
    return _SAID.get(reason[1])
