"""An API key as text and JSON, for commands and the API. Nothing of it is secret."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from routing.models import ApiKey


def describe(key: ApiKey, now: datetime) -> dict[str, Any]:
    """All that is shown of a key, with its replaced secrets, the latest first."""
    return {
        "prefix": key.shown_prefix,
        "name": key.name,
        "state": key.shown_state(now),
        "owner": key.owner or None,
        "created_by": key.created_by or None,
        "consumer": str(key.consumer) if key.consumer else None,
        "scopes": key.scopes,
        "tenant": key.tenant or None,
        "environment": key.environment or None,
        "methods": key.methods,
        "ip": key.ip,
        "created_at": time_text(key.created_at),
        "expires_at": time_text(key.expires_at),
        "revoked_at": time_text(key.revoked_at),
        "rotated_at": time_text(key.rotated_at),
        "last_used_at": time_text(key.last_used_at),
        "last_used_from": key.last_used_from or None,
        "last_used_service": key.last_used_service or None,
        "replaced_secrets": [
            {
                "replaced_at": time_text(secret.retired_at),
                "valid_until": time_text(secret.valid_until),
                "uses": secret.uses,
                "last_used_at": time_text(secret.last_used_at),
                "last_used_from": secret.last_used_from or None,
                "last_used_service": secret.last_used_service or None,
            }
            for secret in key.retired.all()
        ],
    }


def summary(key: ApiKey, now: datetime) -> dict[str, str]:
    """A line of the table of keys."""
    old = next((secret for secret in key.retired.all() if secret.valid_until > now), None)
    return {
        "PREFIX": key.shown_prefix,
        "NAME": key.name,
        "STATE": key.shown_state(now),
        "WHOSE": key.holder or "-",
        "EXPIRES": _day(key.expires_at),
        "LAST USED": _day(key.last_used_at),
        "OLD SECRET": f"until {_day(old.valid_until)}, {old.uses} uses" if old else "-",
        "SCOPES": "services that require no scopes" if key.scopes is None else " ".join(map(str, key.scopes)) or "none",
    }


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """The rows under their names, in columns as wide as their widest value."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def time_text(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _day(time: datetime | None) -> str:
    return "-" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"
