"""Times as JSON has them."""

from datetime import UTC, datetime


def iso_timestamp(at: float) -> str:
    """Unix seconds as ISO 8601 in UTC, to the millisecond: `2026-01-31T12:00:00.000Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
