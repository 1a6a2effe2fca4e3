"""`/api/config/history`: who has changed the configuration, when, and what."""

from typing import Any, Final

from django.http import HttpResponse
from rest_framework.request import Request

from metrics.api.configuration import ConfigurationBase
from metrics.api.configuration_access import visible_services
from metrics.api.configuration_schema import configuration_operation
from routing.configuration_errors import UnknownDocument
from routing.database import revisions
from routing.errors import Forbidden
from routing.models import ConfigurationRevision

MAX_LISTED: Final = 100


class HistoryBase(ConfigurationBase):
    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if visible_services(request) is not None:
            raise Forbidden("the key is for some services, and the history is that of all")


class ConfigurationHistoryView(HistoryBase):
    @configuration_operation("configurationHistory", "the latest revisions")
    def get(self, request: Request) -> HttpResponse:
        """List the latest 100 changes of the configuration, the latest first."""
        rows = ConfigurationRevision.objects.defer("document", "secrets")[:MAX_LISTED]
        return self.represent(request, {"revisions": [_described(row) for row in rows]})


class ConfigurationRevisionView(HistoryBase):
    @configuration_operation("configurationRevision", "a revision")
    def get(self, request: Request, number: str) -> HttpResponse:
        """Get a change of the configuration: the lines of a unified diff, and the file after it."""
        row = ConfigurationRevision.objects.filter(pk=int(number)).first()
        if row is None:
            raise UnknownDocument(f"there is no revision {int(number)}")
        lines = list(revisions.diff_lines(revisions.previous_document(row), row.document))
        return self.represent(request, {**_described(row), "changes": lines, "document": row.document})


def _described(row: ConfigurationRevision) -> dict[str, Any]:
    at = row.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": row.pk, "created_at": at, "actor": row.actor, "summary": row.summary} | {
        "label": row.label,
        "comment": row.comment,
    }
