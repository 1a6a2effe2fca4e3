"""Messages as their receivers read them: text, Slack's, PagerDuty's and Standard Webhooks' JSON. Pure."""

import hmac
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from metrics.alerts.change import ChangeKind, ConditionChange, reason_text
from metrics.alerts.messages import QueuedMessage
from metrics.timestamps import iso_timestamp
from routing.http import Headers

JSON: Final = b"application/json"
SOURCE: Final = "Intelligence Gateway"
MAX_SERVICES: Final = 3
"""The most services that a title names."""
_WORDS: Final = {
    ChangeKind.FIRING: "FIRING",
    ChangeKind.REPEATED: "STILL FIRING",
    ChangeKind.RESOLVED: "RESOLVED",
    ChangeKind.TEST: "TEST",
}
_SLACK: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""Slack's control characters, with which a text could mention everybody. No others are escaped."""
_LINE: Final = str.maketrans({"\n": " ", "\r": " "})


def title(changes: Sequence[ConditionChange]) -> str:
    """`2 firing, 1 resolved: billing, crm`."""
    numbers = Counter(_WORDS[change.kind].lower() for change in changes)
    counted = ", ".join(f"{numbers[word]} {word}" for word in map(str.lower, _WORDS.values()) if numbers[word])
    names = sorted({change.service or change.subject for change in changes})
    shown = ", ".join(names[:MAX_SERVICES]) + (f" and {len(names) - MAX_SERVICES} more" if names[MAX_SERVICES:] else "")
    return f"{counted}: {shown}".translate(_LINE)[:200]


def lines(changes: Sequence[ConditionChange]) -> list[str]:
    return [_line(change) for change in changes]


def _line(change: ConditionChange) -> str:
    prefix = f"{change.subject}: " if change.subject not in change.summary else ""
    text = f"{_WORDS[change.kind]}: {prefix}{change.summary} ({change.condition}, since {_clock(change.since)})"
    reason = reason_text(change.reason)
    return (f"{text}: {reason}" if reason else text).translate(_LINE)


def text(message: QueuedMessage, link: str) -> str:
    """The message as text: a line for each change. `link` is the address of staff's pages, or empty."""
    address = [f"{link}/dashboard/alerts/"] if link else []
    return "\n".join([*lines(message.changes), *address])


def slack(message: QueuedMessage, link: str) -> bytes:
    """The message for an incoming webhook of Slack. `mrkdwn` is off: names may contain asterisks and underscores."""
    shown = f"{title(message.changes)}\n{text(message, link)}"
    return msgspec.json.encode({"text": shown.translate(_SLACK), "mrkdwn": False})


def pagerduty(message: QueuedMessage, routing_key: bytes, link: str) -> list[bytes]:
    """Events of the Events API v2, for requests of their own. A test is resolved at once."""
    events = []
    for change in message.changes:
        is_over = change.kind is ChangeKind.RESOLVED
        events.append(_event(change, "resolve" if is_over else "trigger", routing_key, link))
        if change.kind is ChangeKind.TEST:
            events.append(_event(change, "resolve", routing_key, link))
    return events


def _event(change: ConditionChange, action: str, routing_key: bytes, link: str) -> bytes:
    event: dict[str, Any] = {
        "routing_key": routing_key.decode("utf-8", "replace"),
        "event_action": action,
        "dedup_key": change.key,
        "client": SOURCE,
        "payload": {
            "summary": _line(change)[:1_024],
            "source": change.service or SOURCE,
            "severity": _severity(change),
            "timestamp": iso_timestamp(change.at),
            "component": change.subject,
            "group": change.alert,
            "class": change.condition,
        },
    }
    return msgspec.json.encode(event | ({"client_url": f"{link}/dashboard/alerts/"} if link else {}))


def _severity(change: ConditionChange) -> str:
    if change.kind is ChangeKind.TEST:
        return "info"
    return "critical" if change.is_critical else "warning"


def webhook(message: QueuedMessage, link: str) -> bytes:
    """The payload of a Standard Webhook: its type, its time, and the changes."""
    return msgspec.json.encode(
        {
            "type": "gateway.alerts",
            "timestamp": iso_timestamp(message.created_at),
            "data": {
                "title": title(message.changes),
                "url": f"{link}/dashboard/alerts/" if link else None,
                "changes": [_change(change) for change in message.changes],
            },
        }
    )


def _change(change: ConditionChange) -> dict[str, Any]:
    return {
        "status": change.kind.value,
        "key": change.key,
        "alert": change.alert,
        "condition": change.condition,
        "subject": change.subject,
        "service": change.service or None,
        "summary": change.summary,
        "reason": change.reason or None,
        "severity": _severity(change),
        "since": iso_timestamp(change.since),
        "at": iso_timestamp(change.at),
    }


def signed(message: QueuedMessage, content: bytes, key: bytes, now: float) -> Headers:
    """The fields of Standard Webhooks. The id is the same whenever the message is tried again."""
    identifier, timestamp = f"msg_{message.id}".encode(), str(int(now)).encode()
    digest = hmac.digest(key, b".".join((identifier, timestamp, content)), "sha256")
    return [
        (b"webhook-id", identifier),
        (b"webhook-timestamp", timestamp),
        (b"webhook-signature", b"v1," + b64encode(digest)),
    ]


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%-d %b %H:%M} UTC"
