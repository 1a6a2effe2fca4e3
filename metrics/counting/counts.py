"""The names of the counted fields, and how counts are added up.

A field is `name|label|...` and its count an integer, so that sums are exact and merge in any order:

    requests|GET|2xx|/channels/{id}    duration|337  duration_us     cache|HIT     circuit|success
    code|rate_limited                  backend|402   backend_us      aborted|client_gone
    transition|CLOSED|OPEN             bytes         retries         path|HIT|/api/v1/crm/contacts
    target|ejected                     lost|get      fallback|crm-replica    webhook|slack|queued
    credential|refreshed               outcome|limited                       hold_off|begun
    fault|error|502 from /contacts     affected|error|key:abcdefgh
    route_duration|40|GET|/channels/{id}                route_cache|HIT|GET|/channels/{id}
    refetch|changed|17|/channels
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

"""The length of a minute, in seconds."""

GATEWAY: Final = "*"
"""Stands for a service in the counts of all services together, which charts of the whole gateway read."""

Fields = Mapping[str, int]

_NAME: Final = re.compile(r"([0-9]{1,11})\|((?:[A-Za-z][A-Za-z0-9_-]{0,62})?)\|(.+)", re.DOTALL)
_COUNT: Final = re.compile(rb"-?[0-9]{1,18}")


class CountBatch(msgspec.Struct, frozen=True):
    """Counts by `start|service|field`, where `start` is a minute in Unix seconds. Applied once, by its id."""

    id: str
    counts: dict[str, int]


class PendingCounts(msgspec.Struct, frozen=True):
    """Counts that are not in the database yet, and the sums of the live workers' gauges."""

    batches: tuple[CountBatch, ...] = ()
    gauges: dict[str, int] = {}


def read_fields(stored: Mapping[bytes, bytes]) -> dict[str, int]:
    """A batch's counts as they were stored, without those that are not integers or whose name is not text."""
    return {
        name.decode(): int(number) for name, number in stored.items() if _COUNT.fullmatch(number) and _is_text(name)
    }


def _is_text(name: bytes) -> bool:
    try:
        return "\0" not in name.decode()
    except UnicodeDecodeError:
        return False


def merge_counts(several: Iterable[Fields]) -> Counter[str]:
    total: Counter[str] = Counter()
    for fields in several:
        total.update(fields)
    return total


def split_by_minute(counts: Fields) -> dict[tuple[int, str], Counter[str]]:
    """Split a batch's counts by minute (Unix seconds) and service. Other programs' fields are left out."""
    split: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for key, number in counts.items():
        if name := _NAME.fullmatch(key):
            start, service, field = name.groups()
            split[int(start), service][field] += number
    return dict(split)


def with_prefix(fields: Fields, name: str) -> dict[str, int]:
    """The fields `name|labels`, by their labels."""
    prefix = f"{name}|"
    return {field[len(prefix) :]: number for field, number in fields.items() if field.startswith(prefix)}


def buckets(fields: Fields, name: str) -> dict[int, int]:
    """A histogram's counts by bucket number."""
    return {int(number): count for number, count in with_prefix(fields, name).items() if number.isdecimal()}
