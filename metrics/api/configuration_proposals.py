"""`/api/config/proposals`: changes that wait for approval, and those that were decided."""

from datetime import datetime
from typing import Any, Final

from django.http import HttpResponse
from rest_framework.request import Request

from metrics.api.configuration_history import HistoryBase
from metrics.api.configuration_schema import configuration_operation
from routing.configuration_errors import UnknownDocument
from routing.models import ConfigurationProposal

MAX_LISTED: Final = 100


class ConfigurationProposalsView(HistoryBase):
    @configuration_operation("configurationProposals", "the latest proposals")
    def get(self, request: Request) -> HttpResponse:
        """List the latest 100 changes that wait for approval or were decided, the latest first."""
        rows = self.shown(request, ConfigurationProposal.objects.defer("parts", "secrets", "differences"))[:MAX_LISTED]
        return self.represent(request, {"proposals": [described(row) for row in rows]})


class ConfigurationProposalView(HistoryBase):
    @configuration_operation("configurationProposal", "a proposal")
    def get(self, request: Request, number: str) -> HttpResponse:
        """Get a change that waits for approval or was decided, with what it changes. Secrets are masked."""
        row = self.shown(request, ConfigurationProposal.objects.filter(pk=int(number))).first()
        if row is None:
            raise UnknownDocument(f"there is no proposal {int(number)}")
        return self.represent(request, {**described(row), **row.differences})


def described(row: ConfigurationProposal) -> dict[str, Any]:
    decided = {"decided_at": _time(row.decided_at), "decided_by": row.decided_by, "reason": row.reason}
    return {
        "id": row.pk,
        "created_at": _time(row.created_at),
        "author": row.author,
        "summary": row.summary,
        "comment": row.comment,
        "state": row.state,
        **decided,
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
