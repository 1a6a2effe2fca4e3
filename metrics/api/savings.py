"""`/metrics/savings`: what caching has saved, by month and service; as JSON or CSV."""

from typing import Any, Final

from django.db import DatabaseError, InterfaceError
from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from metrics import selectors
from metrics.api import access
from metrics.api.base import LimitedReadView, documented, validate_query
from metrics.api.usage import RETRY_SECONDS
from metrics.savings import report
from metrics.savings.report import MAX_MONTHS, Month, SavingsReport
from metrics.savings.table import to_csv
from routing.errors import BadRequest, Unavailable

DEFAULT_MONTHS: Final = 12
_MONTH: Final = {"type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$"}
_SUMS: Final = {"requests": 120_400, "savedCalls": 98_200, "savedSeconds": 20_622.0, "savedUsd": 49.1}
_EXAMPLE: Final = {
    "from": "2025-02",
    "to": "2026-01",
    "savings": [{"month": "2026-01", "service": "crmIntelligence", **_SUMS}],
    "months": [{"month": "2026-01", **_SUMS}],
    "total": _SUMS,
}


class MonthField(serializers.Field[Any, Any, Any, Any]):
    def to_internal_value(self, data: Any) -> Month:
        try:
            return Month.parse(data)
        except ValueError:
            raise serializers.ValidationError("must be a month such as 2026-01") from None


class SavingsInput(serializers.Serializer[Any]):
    to = MonthField(required=False, default=None)
    format = serializers.ChoiceField(choices=["json", "csv"], required=False, default="json")

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "from": MonthField(required=False, default=None)}  # a keyword in Python


class SumsOutput(serializers.Serializer[Any]):
    requests = serializers.IntegerField()
    savedCalls = serializers.IntegerField(source="calls", help_text="responses for which the backend was not called")  # noqa: N815 - a key of the API
    savedSeconds = serializers.FloatField(source="seconds", help_text="at the month's average call")  # noqa: N815 - a key of the API
    savedUsd = serializers.FloatField(source="usd", help_text="at the service's present cost per call")  # noqa: N815 - a key of the API


class MonthOutput(SumsOutput):
    month = serializers.CharField()


class SavingsRowOutput(MonthOutput):
    service = serializers.CharField()


class SavingsOutput(serializers.Serializer[Any]):
    to = serializers.CharField(help_text="the last month, of UTC")
    savings = SavingsRowOutput(many=True, help_text="the latest month first")
    months = MonthOutput(many=True)
    total = SumsOutput()

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.CharField(), **super().get_fields()}


class SavingsView(LimitedReadView):
    @extend_schema(
        parameters=[
            OpenApiParameter("from", _MONTH, description=f"first month; default: {DEFAULT_MONTHS - 1} before `to`"),
            OpenApiParameter(
                "to", _MONTH, description=f"last month, included; default: this one. At most {MAX_MONTHS}"
            ),
            OpenApiParameter("format", {"type": "string", "enum": ["json", "csv"], "default": "json"}),
        ]
    )
    @documented("savings", SavingsOutput, _EXAMPLE)
    def get(self, request: Request) -> HttpResponseBase:
        """Get the calls, seconds and US dollars that caching has saved, by month and service."""
        data = _input(request)
        last = data["to"] or Month.at(selectors.now())
        first = data["from"] or last.earlier(DEFAULT_MONTHS - 1)
        if not first <= last:
            raise BadRequest("from: must not be after `to`")
        if first < last.earlier(MAX_MONTHS - 1):
            raise BadRequest(f"from: must be at most {MAX_MONTHS - 1} months before `to`")
        try:
            found = report.report(first, last, access.visible(request))
        except (DatabaseError, InterfaceError):
            raise Unavailable("savings cannot be read at the moment", retry_after=RETRY_SECONDS) from None
        return _csv(found) if data["format"] == "csv" else Response(_document(found))


def _input(request: Request) -> dict[str, Any]:
    """Raises BadRequest and ValidationError."""
    return validate_query(SavingsInput, request)


def _document(found: SavingsReport) -> dict[str, Any]:
    return {
        "from": str(found.first),
        "to": str(found.last),
        "savings": SavingsRowOutput(found.rows, many=True).data,
        "months": MonthOutput(found.months, many=True).data,
        "total": SumsOutput(found.total).data,
    }


def _csv(found: SavingsReport) -> HttpResponse:
    response = HttpResponse(to_csv(found), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="savings-{found.first}-{found.last}.csv"'
    response["X-Content-Type-Options"] = "nosniff"
    return response
