"""What a draft would change: the decisions of two simulations compared, and counted. Pure rules."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from metrics.replay.decision import Decision, Verdict, changes_verdict
from metrics.request_log.record import RequestRecord

MAX_EXAMPLES: Final = 50
EXAMPLES_OF_A_KIND: Final = 8
"""The most examples of one service, route and pair of verdicts, so that the most frequent change does not take all
places.
"""
MAX_SERVICES: Final = 100


class Count(msgspec.Struct, frozen=True):
    """`records` were replayed; they stand for so many `requests`, by the share that was recorded."""

    records: int = 0
    requests: float = 0.0


class Transition(msgspec.Struct, frozen=True):
    """Requests whose verdict is `now` under the present configuration, and `draft` under the draft."""

    now: Verdict
    draft: Verdict
    count: Count


class ServiceChange(msgspec.Struct, frozen=True):
    """`changed` of the requests to one service end otherwise. `service` is empty for those that none has."""

    service: str
    count: Count
    changed: Count


class Example(msgspec.Struct, frozen=True):
    """A request whose end would change. `index` is that of its record."""

    index: int
    now: Decision
    draft: Decision
    differences: tuple[str, ...]


class Comparison(msgspec.Struct, frozen=True):
    """`changed` end otherwise for their callers; of `cache_changed`, the response would be stored differently, or under
    another key, so that what is stored now is not found. `differences` counts by the field that differs.
    """

    replayed: Count
    changed: Count
    cache_changed: Count
    now: dict[Verdict, Count]
    draft: dict[Verdict, Count]
    transitions: tuple[Transition, ...]
    differences: dict[str, Count]
    services: tuple[ServiceChange, ...]
    examples: tuple[Example, ...]


class _Tally:
    """Counts records and the requests they stand for, by any key."""

    def __init__(self) -> None:
        self._records: Counter[object] = Counter()
        self._requests: dict[object, float] = {}

    def add(self, key: object, weight: float) -> None:
        self._records[key] += 1
        self._requests[key] = self._requests.get(key, 0.0) + weight

    def of(self, key: object) -> Count:
        return Count(self._records[key], round(self._requests.get(key, 0.0), 1))


def compare(
    records: Sequence[RequestRecord], now: Sequence[Decision | None], draft: Sequence[Decision | None]
) -> Comparison:
    """Compare the decisions. All three arguments are in the same order."""
    tally, services, examples = _Tally(), dict[str, None](), _Examples()
    pairs, differing = dict[tuple[Verdict, Verdict], None](), dict[str, None]()
    for index, (record, before, after) in enumerate(zip(records, now, draft, strict=True)):
        if before is None or after is None:
            continue
        weight, differences = weight_of(record), before.differences(after)
        service = before.service or after.service
        services[service] = None
        for key in (*_keys(before, after, differences), ("service", service)):
            tally.add(key, weight)
        if changes_verdict(differences):
            tally.add(("changed", service), weight)
        if before.verdict is not after.verdict:
            pairs[before.verdict, after.verdict] = None
        differing.update(dict.fromkeys(differences))
        if differences:
            examples.add(Example(index, before, after, differences))
    return Comparison(
        replayed=tally.of("all"),
        changed=tally.of("changed"),
        cache_changed=tally.of("cache"),
        now={verdict: tally.of(("now", verdict)) for verdict in Verdict},
        draft={verdict: tally.of(("draft", verdict)) for verdict in Verdict},
        transitions=tuple(
            sorted(
                (Transition(*pair, tally.of(pair)) for pair in pairs),
                key=lambda each: -each.count.requests,
            )
        ),
        differences={name: tally.of(("differs", name)) for name in differing},
        services=_services(tally, services),
        examples=examples.chosen(),
    )


def weight_of(record: RequestRecord) -> float:
    """How many requests a record stands for."""
    return 1.0 / record.share if 0 < record.share <= 1 else 1.0


def _keys(now: Decision, draft: Decision, differences: tuple[str, ...]) -> Iterator[object]:
    yield "all"
    yield "now", now.verdict
    yield "draft", draft.verdict
    if now.verdict is not draft.verdict:
        yield now.verdict, draft.verdict
    if changes_verdict(differences):
        yield "changed"
    if "cache_rule" in differences or "cache_key" in differences:
        yield "cache"
    for name in differences:
        yield "differs", name


def _services(tally: _Tally, names: Iterable[str]) -> tuple[ServiceChange, ...]:
    """The services, beginning with the most changed requests."""
    found = [ServiceChange(name, tally.of(("service", name)), tally.of(("changed", name))) for name in names]
    found.sort(key=lambda each: (-each.changed.requests, -each.count.requests, each.service))
    return tuple(found[:MAX_SERVICES])


class _Examples:
    """The latest requests of each kind of change."""

    def __init__(self) -> None:
        self._found: dict[object, list[Example]] = {}

    def add(self, example: Example) -> None:
        now, draft = example.now, example.draft
        kind = (now.service, now.route, now.verdict, draft.verdict, now.code, draft.code, example.differences)
        kept = self._found.setdefault(kind, [])
        kept.append(example)
        if len(kept) > EXAMPLES_OF_A_KIND:
            del kept[0]

    def chosen(self) -> tuple[Example, ...]:
        """What callers would notice first; of each kind one, then another one of each."""
        rounds = (kept[-1 - turn] for turn in range(EXAMPLES_OF_A_KIND) for kept in self._kinds() if turn < len(kept))
        found = sorted(rounds, key=lambda example: not changes_verdict(example.differences))
        return tuple(found[:MAX_EXAMPLES])

    def _kinds(self) -> list[list[Example]]:
        return list(self._found.values())
