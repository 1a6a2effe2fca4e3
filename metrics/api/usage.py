"""`/metrics/usage`: what consumers have used, by day, service and more; as JSON or CSV."""

import re
from datetime import date, datetime, timedelta
from typing import Any, Final

import msgspec
from django.db import DatabaseError, InterfaceError
from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from metrics.api import access
from metrics.api.base import LimitedReadView, documented, validate_query
from metrics.api.filters import name_filters
from metrics.api.serializers import MAX_TIMESTAMP, QueryInteger, Timestamp
from metrics.runtime_access import running
from metrics.usage import selectors
from metrics.usage.selectors import FILTERS, GROUPS, ReportQuery, UsageRow
from metrics.usage.table import to_csv
from routing.errors import Unavailable

DEFAULT_DAYS: Final = 30
DEFAULT_GROUPS: Final = "consumer,service,day"
DEFAULT_LIMIT: Final = 1_000
MAX_LIMIT: Final = 100_000
MAX_OFFSET: Final = 100_000_000
RETRY_SECONDS: Final = 5.0
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TOTAL: Final = {
    "requests": 1_204,
    "errors": 3,
    "cached": 1_020,
    "bytesIn": 0,
    "bytesOut": 481_600,
    "backendSeconds": 22.081734,
    "refused": 2,
    "limited": 1,
    "money": [{"amount": "2.408", "currency": "EUR"}],
}
_EXAMPLE: Final = {
    "from": "2026-01-01",
    "to": "2026-01-31",
    "timezone": "Europe/Berlin",
    "groupBy": ["consumer", "caller", "service", "day"],
    "usage": [
        {"consumer": "acme", "caller": "", "service": "crmIntelligence", "day": "2026-01-31", **_TOTAL},
    ],
    "total": _TOTAL,
    "next": None,
}
_GROUP_SCHEMA: Final = {
    "type": "string",
    "pattern": f"^({'|'.join(GROUPS)})(,({'|'.join(GROUPS)})){{0,9}}$",
    "default": DEFAULT_GROUPS,
}
DATE_SCHEMA: Final = {
    "anyOf": [
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": 0, "maximum": MAX_TIMESTAMP},
    ]
}
NAME_SCHEMA: Final = {"type": "string", "maxLength": 300, "pattern": r"^[^\u0000]*$"}


class DayField(serializers.DateField):
    """A date, or the day of a time, as ISO 8601 or Unix seconds. REST framework's takes other digits than ASCII's."""

    def to_internal_value(self, value: Any) -> date:
        if _DATE.fullmatch(value):
            return super().to_internal_value(value)
        try:
            instant: datetime = Timestamp().to_internal_value(value)
            return instant.astimezone(running().usage.timezone).date()
        except (serializers.ValidationError, OverflowError, ValueError):
            raise serializers.ValidationError("must be a date such as 2026-01-31, ISO 8601 or Unix seconds") from None


class Groups(serializers.Field[Any, Any, Any, Any]):
    """Names separated by commas."""

    def to_internal_value(self, data: Any) -> tuple[str, ...]:
        names = selectors.expand_groups(data.split(","))
        if names is None:
            raise serializers.ValidationError(f"must be some of {', '.join(GROUPS)}, separated by commas")
        return names


class UsageInput(serializers.Serializer[Any]):
    to = DayField(required=False, default=None)
    group_by = Groups(required=False, default=None)
    format = serializers.ChoiceField(choices=["json", "csv"], required=False, default="json")
    limit = QueryInteger(required=False, default=None, min_value=1, max_value=MAX_LIMIT)
    offset = QueryInteger(required=False, default=0, min_value=0, max_value=MAX_OFFSET)

    def get_fields(self) -> dict[str, Any]:
        start = {"from": DayField(required=False, default=None)}  # a keyword in Python
        return {**super().get_fields(), **name_filters(FILTERS), **start}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["from"] and attrs["to"] and attrs["from"] > attrs["to"]:
            raise serializers.ValidationError({"from": "must not be after `to`"})
        return attrs


class MoneyOutput(serializers.Serializer[Any]):
    amount = serializers.CharField(help_text="a decimal number")
    currency = serializers.CharField()


class CountsOutput(serializers.Serializer[UsageRow]):
    requests = serializers.IntegerField()
    errors = serializers.IntegerField(help_text="responses with a 4xx or 5xx status")  # type: ignore[assignment] # a field
    cached = serializers.IntegerField(help_text="responses for which the backend was not called")
    bytesIn = serializers.IntegerField(source="bytes_in", help_text="of bodies and WebSockets' messages")  # noqa: N815 - a key of the API
    bytesOut = serializers.IntegerField(source="bytes_out")  # noqa: N815 - a key of the API
    backendSeconds = serializers.FloatField(source="backend_seconds")  # noqa: N815 - a key of the API
    refused = serializers.IntegerField(help_text="4xx responses of the gateway's own")
    limited = serializers.IntegerField(help_text="those of them with status 429")
    money = MoneyOutput(many=True, help_text="of requests that have a price, by currency")


class UsageRowOutput(CountsOutput):
    """The fields of `groupBy` come first."""

    day = serializers.DateField(required=False)
    consumer = serializers.CharField(required=False, help_text="empty for callers without one")
    caller = serializers.CharField(required=False, help_text="a key or identity without a consumer")
    key = serializers.CharField(required=False, help_text="prefix of the API key; empty for other credentials")
    team = serializers.CharField(required=False)
    service = serializers.CharField(required=False, help_text="empty for requests that matched none")
    route = serializers.CharField(required=False)


class UsageOutput(serializers.Serializer[Any]):
    timezone = serializers.CharField(help_text="where days begin and end")
    groupBy = serializers.ListField(child=serializers.CharField())  # noqa: N815 - a key of the API
    usage = UsageRowOutput(many=True)
    total = CountsOutput(help_text="of all groups, also of those that are not returned")
    next = serializers.IntegerField(allow_null=True, help_text="`offset` of the groups that follow")

    def get_fields(self) -> dict[str, Any]:
        days = {name: serializers.DateField() for name in ("from", "to")}
        return {**days, **super().get_fields()}


class UsageView(LimitedReadView):
    @extend_schema(
        parameters=[
            OpenApiParameter("from", DATE_SCHEMA, description="first day; default: 29 days before `to`"),
            OpenApiParameter("to", DATE_SCHEMA, description="last day, included; default: today"),
            OpenApiParameter("group_by", _GROUP_SCHEMA, description="`consumer` includes `caller`"),
            *(OpenApiParameter(name, NAME_SCHEMA, description="only of this one; empty: of all") for name in FILTERS),
            OpenApiParameter("format", {"type": "string", "enum": ["json", "csv"], "default": "json"}),
            OpenApiParameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
                description=f"groups returned; default: {DEFAULT_LIMIT}, of CSV {MAX_LIMIT}",
            ),
            OpenApiParameter("offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}),
        ]
    )
    @documented("usage", UsageOutput, _EXAMPLE)
    def get(self, request: Request) -> HttpResponseBase:
        """Get usage by consumer, service, day and more.

        Days are those of the configured time zone. What was counted until now is included. `Link` with `rel="next"`
        leads to further groups.
        """
        data = _input(request)
        query = msgspec.structs.replace(_query(data), names=access.visible(request))
        try:
            selectors.collect()
            found, total = selectors.report(query), selectors.total(query)
        except (DatabaseError, InterfaceError):
            raise Unavailable("usage cannot be read at the moment", retry_after=RETRY_SECONDS) from None
        rows = found[: data["limit"]]
        following = query.offset + data["limit"] if len(found) > data["limit"] else None
        response: HttpResponseBase
        response = _csv(query, rows) if data["format"] == "csv" else Response(_document(query, rows, total, following))
        if following is not None:
            address = request.build_absolute_uri(f"?{_with_offset(request, following)}")
            response["Link"] = f'<{address}>; rel="next"'
        return response


def _input(request: Request) -> dict[str, Any]:
    """Raises BadRequest and ValidationError."""
    data = validate_query(UsageInput, request)
    data["limit"] = data["limit"] or (MAX_LIMIT if data["format"] == "csv" else DEFAULT_LIMIT)
    return data


def _query(data: dict[str, Any]) -> ReportQuery:
    """One group more than the limit is looked for, to know whether there are more."""
    end = data["to"] or (selectors.today() if data["from"] is None else max(data["from"], selectors.today()))
    earliest = end - timedelta(days=min(DEFAULT_DAYS - 1, (end - date.min).days))
    return ReportQuery(
        start=data["from"] or earliest,
        end=end,
        group_by=data["group_by"] or Groups().to_internal_value(DEFAULT_GROUPS),
        filters={name: data[name] for name in FILTERS if data[name]},
        offset=data["offset"],
        limit=data["limit"] + 1,
    )


def _document(query: ReportQuery, rows: list[UsageRow], total: UsageRow, following: int | None) -> dict[str, Any]:
    return {
        "from": query.start.isoformat(),
        "to": query.end.isoformat(),
        "timezone": str(running().usage.timezone),
        "groupBy": list(query.group_by),
        "usage": [dict(zip(query.group_by, row.group, strict=True)) | CountsOutput(row).data for row in rows],
        "total": CountsOutput(total).data,
        "next": following,
    }


def _csv(query: ReportQuery, rows: list[UsageRow]) -> HttpResponse:
    response = HttpResponse(to_csv(query.group_by, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="usage-{query.start}-{query.end}.csv"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _with_offset(request: Request, offset: int) -> str:
    parameters = request.query_params.copy()
    parameters["offset"] = str(offset)
    return parameters.urlencode()
