"""The status page as HTML."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from metrics.status_page.report import DAYS, INTERRUPTION_DAYS, Reporter, StatusReport
from metrics.status_page.states import Interruption, ServiceState

BAR_WIDTH: Final = 4
"""The width of a day's bar, of which one unit is a gap."""
STATES: Final[Mapping[ServiceState, tuple[str | Promise, str]]] = {
    ServiceState.OPERATIONAL: (_("Operational"), "good"),
    ServiceState.DEGRADED: (_("Degraded"), "warn"),
    ServiceState.DOWN: (_("Down"), "bad"),
    ServiceState.MAINTENANCE: (_("Switched off"), ""),
}
"""Label and tone."""
HEADLINES: Final[Mapping[ServiceState, str | Promise]] = {
    ServiceState.OPERATIONAL: _("All services are operational"),
    ServiceState.DEGRADED: _("Some services are degraded"),
    ServiceState.DOWN: _("Some services are down"),
    ServiceState.MAINTENANCE: _("Some services are switched off"),
}


class StatusRenderer:
    """Renders the page in each language that the gateway speaks. Blocks."""

    def __init__(self) -> None:
        self._reporter = Reporter()

    def __call__(self) -> dict[str, bytes]:
        report = self._reporter.read()
        pages = {}
        for language, _name in settings.LANGUAGES:
            with override(language):
                pages[language] = render(report).encode()
        return pages


def render(report: StatusReport) -> str:
    context: dict[str, Any] = {
        "report": report,
        "at": datetime.fromtimestamp(report.at, UTC),
        "headline": HEADLINES[report.state],
        "tone": STATES[report.state][1],
        "services": [
            {
                "label": service.label,
                "state": STATES[service.state][0],
                "tone": STATES[service.state][1],
                "share": service.share,
                "bars": [(index * BAR_WIDTH, day) for index, day in enumerate(service.days)],
                "troubled": service.troubled,
            }
            for service in report.services
        ],
        "width": DAYS * BAR_WIDTH,
        "days": DAYS,
        "interruptions": [_interruption(each) for each in report.interruptions],
        "interruption_days": INTERRUPTION_DAYS,
    }
    return render_to_string("status_page/status.html", context)


def _interruption(each: Interruption) -> dict[str, Any]:
    began = datetime.fromtimestamp(each.began, UTC)
    ended = None if each.ended is None else datetime.fromtimestamp(each.ended, UTC)
    return {"label": each.label, "began": began, "ended": ended}
