"""`/api/config/history`: who has changed the configuration, when, and what."""

from typing import Any, Final

from django.http import HttpResponse
from rest_framework.request import Request

from metrics.api.configuration import ConfigurationBase
from metrics.api.configuration_access import visible_services
from metrics.api.configuration_schema import configuration_operation
from routing.caller import Caller
from routing.configuration_errors import UnknownDocument
from routing.database import revisions
from routing.errors import Forbidden
from routing.models import ConfigurationRevision

MAX_LISTED: Final = 100


class HistoryBase(ConfigurationBase):
    """Staff with rights for some services see what was about one of these alone."""

    limited = ("GET", "HEAD")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if isinstance(request.auth, Caller) and visible_services(request) is not None:
            raise Forbidden("the key is for some services, and the history is that of all")

    def shown(self, request: Request, rows: Any) -> Any:
        names = visible_services(request)
        return rows if names is None else rows.filter(service__in=names)


class ConfigurationHistoryView(HistoryBase):
    @configuration_operation("configurationHistory", "the latest revisions")
    def get(self, request: Request) -> HttpResponse:
        """List the latest 100 changes of the configuration, the latest first."""
        rows = self.shown(request, ConfigurationRevision.objects.defer("document", "secrets"))[:MAX_LISTED]
        return self.represent(request, {"revisions": [_described(row) for row in rows]})


class ConfigurationRevisionView(HistoryBase):
    @configuration_operation("configurationRevision", "a revision")
    def get(self, request: Request, number: str) -> HttpResponse:
        """Get a change of the configuration: the lines of a unified diff, and the file after it."""
        row = self.shown(request, ConfigurationRevision.objects.filter(pk=int(number))).first()
        if row is None:
            raise UnknownDocument(f"there is no revision {int(number)}")
        names = visible_services(request)
        texts = [revisions.part_of_services(text, names) for text in (revisions.previous_document(row), row.document)]
        lines = list(revisions.diff_lines(*texts))
        return self.represent(request, {**_described(row), "changes": lines, "document": texts[1]})


def _described(row: ConfigurationRevision) -> dict[str, Any]:
    at = row.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"id": row.pk, "created_at": at, "actor": row.actor, "summary": row.summary} | {
        "label": row.label,
        "comment": row.comment,
    }
