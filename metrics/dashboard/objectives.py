"""A service's objectives on its page."""

from typing import Any, Final

from django.db import DatabaseError, InterfaceError

from metrics.objectives import current
from metrics.objectives.budgets import WINDOWS, ObjectiveStatus

MAX_SHOWN: Final = 10.0
"""A budget that is used more often than this is shown as exceeded, without a number."""


def objectives_context(service: str) -> dict[str, Any]:
    """What `dashboard/objectives.html` shows; nothing for a service without objectives, or without the database."""
    try:
        found = current.objectives().get(service, ())
    except (DatabaseError, InterfaceError):
        found = ()
    return {"objectives": [_row(status) for status in found], "windows": list(WINDOWS)}


def _row(status: ObjectiveStatus) -> dict[str, Any]:
    used = status.budget_used
    return {
        "text": status.text,
        "days": status.days,
        "bad": status.bad,
        "total": status.total,
        "left": f"{1 - used:.0%} left"
        if used < 1
        else "exceeded"
        if used > MAX_SHOWN
        else f"exceeded by {used - 1:.0%}",
        "tone": "bad" if used >= 1 or status.fast_burn else "warn" if used >= 0.8 or status.slow_burn else "",
        "rates": [(window, f"{status.burn_rates[window]:g}") for window in WINDOWS],
    }
