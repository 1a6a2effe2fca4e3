"""The words of what is counted, and how counts are added up.

A field is `what|...|...`, its number an integer, so that sums are exact and merge in any order:

    requests|GET|2xx|/channels/{id}    duration|337  duration_us     cache|HIT        circuit|success
    code|rate_limited                  backend|402   backend_us      aborted|client_gone
    transition|CLOSED|OPEN             bytes         retries      path|HIT|/api/v1/crm/contacts
    target|ejected                lost|get
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

MINUTE: Final = 60

Fields = Mapping[str, int]


class CountBatch(msgspec.Struct, frozen=True):
    """Counts of one service and minute each, under `start|service|field`; added to the totals once, by its id."""

    id: str
    counts: dict[str, int]


class PendingCounts(msgspec.Struct, frozen=True):
    """What is not in the database yet, and the gauges of all workers that live."""

    batches: tuple[CountBatch, ...] = ()
    gauges: dict[str, int] = {}


def merged(several: Iterable[Fields]) -> Counter[str]:
    total: Counter[str] = Counter()
    for fields in several:
        total.update(fields)
    return total


def split(counts: Fields) -> dict[tuple[int, str], Counter[str]]:
    """A batch's counts by minute (Unix seconds) and service."""
    apart: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for key, number in counts.items():
        start, service, field = key.split("|", 2)
        apart[int(start), service][field] += number
    return dict(apart)


def under(fields: Fields, what: str) -> dict[str, int]:
    """The fields `what|rest`, by their rest."""
    start = f"{what}|"
    return {field[len(start) :]: number for field, number in fields.items() if field.startswith(start)}


def buckets(fields: Fields, what: str) -> dict[int, int]:
    """A histogram's buckets, by number."""
    return {int(number): count for number, count in under(fields, what).items()}
