"""Replays the request log under a draft of the configuration, and under the present one, and compares the two."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec
from django.conf import settings

from metrics.replay.comparison import Comparison, compare, weight_of
from metrics.replay.recorded_request import Omission, omission_of
from metrics.replay.simulated_gateway import Environment
from metrics.replay.simulation import Recording, simulate
from metrics.request_log.recorder import RequestRecorder
from metrics.request_log.search import FoundRecord, RequestQuery
from metrics.runtime_access import run_on_loop, running, without_turn
from routing.credentials.cipher import Cipher
from routing.database.draft import ChangeConfiguration, Draft, load_draft
from routing.errors import BadRequest, Unavailable
from routing.pages.cookies import have_domain, own_cookies
from routing.router.gateway_cookies import GatewayCookies

DEFAULT_LIMIT: Final = 10_000
MAX_LIMIT: Final = 20_000
"""The request log keeps no more."""
MAX_SECONDS: Final = 20.0
MAX_DRAFT: Final = 256_000
"""Characters of a draft in a form: YAML takes long to parse."""
BUSY_SECONDS: Final = 5.0
_running: Final = threading.Lock()


class ReplayBusy(Unavailable):
    code = "replay_busy"
    title = "Another replay is in progress"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests are replayed: the latest `limit` of a service, or of all, that came between two Unix times.

    Raises BadRequest if the first one is after the second one: no request would be replayed.
    """

    service: str = ""
    start: float | None = None
    end: float | None = None
    limit: int = DEFAULT_LIMIT

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and self.start > self.end:
            raise BadRequest("the start must not be after the end")


class Replay(msgspec.Struct, frozen=True):
    """`records` are what was replayed, in the order of `comparison`; `omitted` were not, for these reasons.
    `unrecorded` requests are missing in the log, because too many came at once. `is_shared` is false while Redis is
    unavailable. `sampled` records stand for `sampled_requests`. `seconds` is how long it took.
    """

    comparison: Comparison
    records: list[FoundRecord]
    omitted: Mapping[Omission, int]
    unrecorded: int
    is_shared: bool
    sampled: int
    sampled_requests: float
    draft: Draft
    seconds: float


async def read_records(log: RequestRecorder, selection: Selection) -> tuple[list[FoundRecord], bool]:
    """The latest first, and whether the shared store could be read."""
    query = RequestQuery(service=selection.service, start=selection.start, end=selection.end)
    found, before, is_shared = list[FoundRecord](), None, True
    while len(found) < selection.limit:
        page = await log.search(query, before=before, limit=selection.limit - len(found))
        found += page.records
        before, is_shared = page.next, page.is_shared
        if before is None or not is_shared:
            break
    return found, is_shared


def replay(change: ChangeConfiguration, selection: Selection) -> Replay:
    """Raises ReplayBusy, ReplayTooLong, and what `change` raises. Not on the gateway's event loop."""
    if not _running.acquire(blocking=False):
        raise ReplayBusy("another replay is in progress in this worker", retry_after=BUSY_SECONDS)
    try:
        return _replay(change, selection)
    finally:
        _running.release()


def _replay(change: ChangeConfiguration, selection: Selection) -> Replay:
    started, config = time.monotonic(), settings.CONFIG
    draft = load_draft(change, config.secret, Cipher(config.credential_keys, config.secret_key).decrypt)
    found, is_shared = run_on_loop(read_records(running().request_log, selection))
    unrecorded = run_on_loop(running().request_log.omitted())
    with without_turn():  # pages need not wait for it
        return _compared(found, draft, started, is_shared=is_shared, unrecorded=unrecorded)


def _compared(found: list[FoundRecord], draft: Draft, started: float, *, is_shared: bool, unrecorded: int) -> Replay:
    reasons = [omission_of(each.record) for each in found]
    kept = [each for each, reason in zip(found, reasons, strict=True) if reason is None]
    kept.sort(key=lambda each: (each.record.at, each.position))
    recording = Recording([each.record for each in kept])
    environment, deadline = _environment(), started + MAX_SECONDS
    now = simulate(recording, draft.now, environment, deadline=deadline)
    after = simulate(recording, draft.after, environment, deadline=deadline)
    weights = [weight_of(each.record) for each in kept if each.record.share < 1]
    return Replay(
        compare(recording.records, now, after),
        kept,
        Counter(reason for reason in reasons if reason is not None),
        unrecorded,
        is_shared,
        len(weights),
        sum(weights),
        draft,
        time.monotonic() - started,
    )


def _environment() -> Environment:
    """The keys of cache entries are compared with each other only: their secret is another one each time."""
    rules = running().gateway.rules
    return Environment(
        rules=rules,
        cookies=GatewayCookies(own_cookies(), rules.allowed_hosts, have_domain=have_domain()),
        secret=secrets.token_bytes(32),
        name=settings.CONFIG.environment_name,
    )
