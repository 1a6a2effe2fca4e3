"""A service's objectives on its page."""

from typing import Any, Final

from django.db import DatabaseError, InterfaceError
from django.utils.translation import gettext as _

from metrics.dashboard.numbers import decimal_text
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
        "left": _left(used),
        "tone": "bad" if used >= 1 or status.fast_burn else "warn" if used >= 0.8 or status.slow_burn else "",
        "rates": [(window, _rate(status.burn_rates[window])) for window in WINDOWS],
    }


def _left(used: float) -> str:
    """What is left of a budget of which this share is used."""
    if used > MAX_SHOWN:
        return _("exceeded")
    if used >= 1:
        return _("exceeded by %(share)s") % {"share": _percent(used - 1)}
    return _("%(share)s left") % {"share": _percent(1 - used)}


def _percent(share: float) -> str:
    """Whole percents; with a decimal where they would be nothing, or everything although some is used."""
    digits = 1 if 0 < share < 0.005 or 0.995 <= share < 1 else 0
    return _("%(number)s%%") % {"number": decimal_text(100 * share, digits)}


def _rate(rate: float) -> str:
    return decimal_text(rate, 0 if rate == 0 or rate >= 100 else 2)
