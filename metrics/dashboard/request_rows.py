"""A request of the log as the dashboard lists it, in the page and in its live feed."""

from datetime import UTC, datetime
from typing import Any, Final

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from metrics.dashboard.numbers import decimal_text
from metrics.request_log.record import RecordKind, RequestRecord
from metrics.request_log.search import FoundRecord
from metrics.timestamps import iso_timestamp

WHY: Final = {
    RecordKind.FAILED: gettext_lazy("Failed"),
    RecordKind.CLIENT_ERROR: gettext_lazy("Client error"),
    RecordKind.SLOW: gettext_lazy("Slow"),
    RecordKind.SAMPLED: gettext_lazy("Sample"),
}
TONES: Final = {
    RecordKind.FAILED: "bad",
    RecordKind.CLIENT_ERROR: "warn",
    RecordKind.SLOW: "warn",
    RecordKind.SAMPLED: "",
}
NO_STATUS: Final = 499
"""What is recorded for a client that did not wait for a response."""


def row(found: FoundRecord) -> dict[str, Any]:
    record = found.record
    return {
        "position": str(found.position),
        "url": request_url(found),
        "time": clock_text(record.at),
        "iso": iso_timestamp(record.at),
        "status": status_text(record),
        "tone": TONES[record.kind],
        "why": str(WHY[record.kind]),
        "code": record.code or record.call or record.aborted,
        "method": record.method,
        "target": record.target_path,
        "service": record.service,
        "route": record.route,
        "caller": record.consumer or record.caller,
        "key": record.caller if record.consumer else "",
        "cache": record.cache,
        "duration": duration_text(record.duration),
    }


def request_url(found: FoundRecord) -> str:
    return f"{reverse('dashboard:request', args=(found.record.id,))}?at={found.position}"


def status_text(record: RequestRecord) -> str:
    return _("no response") if record.status == NO_STATUS and record.aborted else str(record.status)


def clock_text(at: float) -> str:
    """As `30 Nov 2026, 12:00:00.123 UTC`, with the month in the page's language."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{date_format(moment, 'DATE_FORMAT')}, {moment:%H:%M:%S}.{moment.microsecond // 1000:03d} UTC"


def duration_text(seconds: float) -> str:
    if seconds < 0.01:
        return f"{decimal_text(seconds * 1_000, 2)} ms"
    return f"{decimal_text(seconds * 1_000, 0)} ms" if seconds < 0.9995 else f"{decimal_text(seconds, 2)} s"
