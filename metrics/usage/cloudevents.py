"""Usage as CloudEvents 1.0 and as events of Lago. Pure."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from metrics.timestamps import iso_timestamp
from metrics.usage.record import UsageCounts, UsageKey, decimal_amount, seconds

ANONYMOUS: Final = "anonymous"
"""The subject of requests without a credential."""


class Format(StrEnum):
    """BATCH: many CloudEvents in a request; STRUCTURED: one; LAGO: many events as its API takes them."""

    BATCH = "cloudevents"
    STRUCTURED = "cloudevents-structured"
    LAGO = "lago"


BATCH_SIZE: Final = {Format.BATCH: 100, Format.STRUCTURED: 1, Format.LAGO: 100}
"""Events of one request: Lago takes no more."""
CONTENT_TYPE: Final = {
    Format.BATCH: b"application/cloudevents-batch+json",
    Format.STRUCTURED: b"application/cloudevents+json",
    Format.LAGO: b"application/json",
}

CloudEvent = dict[str, Any]


class EventContext(msgspec.Struct, frozen=True):
    """What all events of a gateway have in common. `installation` distinguishes gateways that have the same source."""

    type: str
    source: str
    installation: str


def event_id(installation: str, key: UsageKey, before: UsageCounts, after: UsageCounts) -> str:
    """The same for the same counts, whenever and wherever the event is made."""
    parts = (installation, key.digest, astuple(before), astuple(after))
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def usage_event(origin: EventContext, key: UsageKey, before: UsageCounts, after: UsageCounts, at: float) -> CloudEvent:
    """What was used between two counts of a day. `at` is Unix time."""
    return {
        "specversion": "1.0",
        "id": event_id(origin.installation, key, before, after),
        "source": origin.source,
        "type": origin.type,
        "subject": key.consumer or key.caller or ANONYMOUS,
        "time": iso_timestamp(at),
        "datacontenttype": "application/json",
        "data": _data(key, before, after),
    }


def _data(key: UsageKey, before: UsageCounts, after: UsageCounts) -> CloudEvent:
    data: CloudEvent = {name: getattr(key, name) for name in ("day", "consumer", "caller", "team", "service", "route")}
    data["key"] = key.api_key
    data |= {
        name: getattr(after, name) - getattr(before, name)
        for name in ("requests", "errors", "cached", "bytes_in", "bytes_out")
    }
    data["backend_seconds"] = seconds(after.backend_us - before.backend_us)
    if key.currency:
        data |= {"amount": decimal_amount(after.amount - before.amount), "currency": key.currency}
    return data


def encode(events: Sequence[CloudEvent], form: Format) -> bytes:
    """The content of a request."""
    if form is Format.STRUCTURED:
        return msgspec.json.encode(events[0])
    return msgspec.json.encode({"events": [_lago(event) for event in events]} if form is Format.LAGO else events)


def _lago(event: CloudEvent) -> CloudEvent:
    """The amount is for charges whose price is that of each event."""
    data = event["data"]
    amount = {"precise_total_amount_cents": f"{Decimal(data['amount']) * 100:f}"} if "amount" in data else {}
    return {
        **amount,
        "transaction_id": event["id"],
        "external_subscription_id": event["subject"],
        "code": event["type"],
        "timestamp": int(datetime.fromisoformat(event["time"]).timestamp()),
        "properties": data,
    }


def duplicates(body: bytes, number: int) -> set[int] | None:
    """The places of events that Lago says it has already, if that is all it complains about; None for other errors.

    It refuses a batch as a whole: `{"error_details": {"0": {"transaction_id": ["value_already_exist"]}}}`.
    """
    try:
        details = msgspec.json.decode(body)["error_details"]
        if "transaction_id" in details:
            details = {"0": details}
        known = {
            int(place) for place, fields in details.items() if fields == {"transaction_id": ["value_already_exist"]}
        }
    except (msgspec.MsgspecError, TypeError, LookupError, ValueError, AttributeError):
        return None
    return known if known and len(known) == len(details) and max(known) < number else None
