"""`/metrics/callers`: who uses most, and one caller."""

from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db import DatabaseError, InterfaceError
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from metrics.api import access
from metrics.api.base import LimitedReadView, documented, validate_query
from metrics.api.quotas import EXAMPLE as QUOTA
from metrics.api.quotas import QuotaOutput
from metrics.api.serializers import QueryInteger, Text
from metrics.api.usage import DATE_SCHEMA, NAME_SCHEMA, RETRY_SECONDS, CountsOutput, DayField
from metrics.callers import detail, ranking
from metrics.callers.detail import CallerDetail
from metrics.callers.kinds import KINDS, CallerName, Kind, UnknownCaller
from metrics.callers.profile import Profile, profile
from metrics.callers.ranking import By, CallersQuery, Ranked, RankedCaller, Sort
from metrics.request_log.identifiers import key_prefix
from metrics.runtime_access import running
from metrics.usage import selectors
from routing.errors import BadRequest, Unavailable

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 400
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000
MAX_OFFSET: Final = 1_000_000
_COUNTS: Final = {
    "requests": 1_204,
    "errors": 3,
    "refused": 2,
    "limited": 1,
    "cached": 1_020,
    "bytesIn": 0,
    "bytesOut": 481_600,
    "backendSeconds": 22.081734,
    "money": [{"amount": "2.408", "currency": "EUR"}],
}
_LAST: Final = {"lastUsed": "2026-01-31T12:00:00Z", "lastDay": "2026-01-31"}
_MEMBER: Final = {"kind": "key", "name": "k3m5pq7a", "title": "billing", "consumer": "acme", **_COUNTS, **_LAST}
_RANGE: Final = {"from": "2026-01-01", "to": "2026-01-31", "timezone": "Europe/Berlin"}
_CALLER: Final = {**_MEMBER, "kind": "consumer", "name": "acme", "title": "", "consumer": ""}


class RangeInput(serializers.Serializer[Any]):
    to = DayField(required=False, default=None)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "from": DayField(required=False, default=None)}  # a keyword in Python


class CallersInput(RangeInput):
    by = serializers.ChoiceField(choices=[by.value for by in By], required=False, default=By.CALLER.value)
    sort = serializers.ChoiceField(choices=[sort.value for sort in Sort], required=False, default=Sort.REQUESTS.value)
    service = Text(required=False, default="", allow_blank=True, max_length=63)
    limit = QueryInteger(required=False, default=DEFAULT_LIMIT, min_value=1, max_value=MAX_LIMIT)
    offset = QueryInteger(required=False, default=0, min_value=0, max_value=MAX_OFFSET)


class CallerInput(RangeInput):
    name = Text(required=False, default="", allow_blank=True, max_length=300)


class LastUseOutput(CountsOutput):
    lastUsed = serializers.DateTimeField(  # noqa: N815 - a key of the API
        allow_null=True, help_text="in the range, to the second; null where only the day was recorded"
    )
    lastDay = serializers.DateField()  # noqa: N815 - a key of the API


class CallerOutput(LastUseOutput):
    kind = serializers.ChoiceField(choices=KINDS)
    name = serializers.CharField(help_text="empty for requests without a credential")
    title = serializers.CharField(help_text="of an API key: what it is called")
    consumer = serializers.CharField(help_text="of an API key: whose it is, or was")


class RangeOutput(serializers.Serializer[Any]):
    timezone = serializers.CharField(help_text="where days begin and end")

    def get_fields(self) -> dict[str, Any]:
        days = {name: serializers.DateField() for name in ("from", "to")}
        return {**days, **super().get_fields()}


class CallersOutput(RangeOutput):
    callers = CallerOutput(many=True)
    total = CountsOutput(help_text="of all callers")
    currency = serializers.CharField(help_text="in which `sort=money` compares; empty without prices")
    next = serializers.IntegerField(allow_null=True, help_text="`offset` of the callers that follow")


class CallerServiceOutput(LastUseOutput):
    service = serializers.CharField(help_text="empty for requests that matched none")


class CallerRouteOutput(CallerServiceOutput):
    route = serializers.CharField()


class CallerDayOutput(CountsOutput):
    day = serializers.DateField()


class LimitOutput(serializers.Serializer[Any]):
    owner = serializers.CharField(help_text="whose limit it is")
    name = serializers.CharField()
    value = serializers.CharField()


class CallerDetailOutput(RangeOutput):
    kind = serializers.ChoiceField(choices=KINDS)
    name = serializers.CharField()
    configured = serializers.BooleanField(help_text="whether the configuration has it now")
    enabled = serializers.BooleanField()
    consumer = serializers.CharField(help_text="of an API key")
    team = serializers.CharField()
    plan = serializers.CharField()
    limits = LimitOutput(many=True)
    quotas = QuotaOutput(many=True, allow_null=True, help_text="null while they cannot be read")
    total = CountsOutput()
    lastUsed = serializers.DateTimeField(allow_null=True, help_text="of all days that are kept")  # noqa: N815 - a key of the API
    lastDay = serializers.DateField(allow_null=True)  # noqa: N815 - a key of the API
    services = CallerServiceOutput(many=True)
    routes = CallerRouteOutput(many=True, help_text="those with the most requests")
    days = CallerDayOutput(many=True)
    members = CallerOutput(many=True, help_text="keys of a consumer, consumers of a team or of a key")


_DAYS: Final = (
    OpenApiParameter("from", DATE_SCHEMA, description="first day; default: 29 days before `to`"),
    OpenApiParameter("to", DATE_SCHEMA, description=f"last day, included; default: today. At most {MAX_DAYS} days"),
)


class CallersView(LimitedReadView):
    @extend_schema(
        parameters=[
            *_DAYS,
            OpenApiParameter("by", {"type": "string", "enum": [by.value for by in By], "default": "caller"}),
            OpenApiParameter("sort", {"type": "string", "enum": [each.value for each in Sort], "default": "requests"}),
            OpenApiParameter(
                "service", {**NAME_SCHEMA, "maxLength": 63}, description="only of this one; empty: of all"
            ),
            OpenApiParameter(
                "limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
            ),
            OpenApiParameter("offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}),
        ]
    )
    @documented(
        "callers",
        CallersOutput,
        {**_RANGE, "callers": [_CALLER], "total": _COUNTS, "currency": "EUR", "next": None},
    )
    def get(self, request: Request) -> Response:
        """List the callers, API keys or teams that use most.

        With `by=caller` these are consumers, and keys and identities without one.
        """
        data = _read(request, CallersInput)
        query = CallersQuery(
            start=data["from"],
            end=data["to"],
            by=By(data["by"]),
            sort=Sort(data["sort"]),
            names=access.visible(request),
            **{name: data[name] for name in ("service", "offset", "limit")},
        )
        try:
            selectors.collect()
            found = ranking.ranking(query)
        except (DatabaseError, InterfaceError):
            raise _unavailable() from None
        return Response(
            {
                **_range(query.start, query.end),
                "callers": [_ranked_caller(each) for each in found.callers],
                "total": CountsOutput(found.total).data,
                "currency": found.currency,
                "next": query.offset + query.limit if found.more else None,
            }
        )


class CallerView(LimitedReadView):
    @extend_schema(
        parameters=[
            *_DAYS,
            OpenApiParameter(
                "name",
                NAME_SCHEMA,
                description="the consumer, caller or team, or the prefix of the key; empty: anonymous",
            ),
        ]
    )
    @documented(
        "caller",
        CallerDetailOutput,
        {
            **_RANGE,
            "kind": "consumer",
            "name": "acme",
            "configured": True,
            "enabled": True,
            "consumer": "",
            "team": "sales",
            "plan": "pro",
            "limits": [{"owner": "plan pro", "name": "rate", "value": "100/m"}],
            "quotas": [QUOTA],
            "total": _COUNTS,
            **_LAST,
            "services": [{"service": "crm", **_COUNTS, **_LAST}],
            "routes": [{"service": "crm", "route": "/contacts", **_COUNTS, **_LAST}],
            "days": [{"day": "2026-01-31", **_COUNTS}],
            "members": [_MEMBER],
        },
    )
    def get(self, request: Request, kind: str) -> Response:
        """Get what a caller used, when last, and its plan and quotas."""
        data = _read(request, CallerInput)
        if not data["name"] and kind != Kind.CALLER:
            raise BadRequest("name: must not be empty")
        name = key_prefix(data["name"]) if kind == Kind.KEY else data["name"]
        caller, names = CallerName(Kind(kind), name), access.visible(request)
        try:
            selectors.collect()
            found, known = detail.caller_detail(caller, data["from"], data["to"], names), profile(caller, names)
        except (DatabaseError, InterfaceError):
            raise _unavailable() from None
        if not found.is_counted and known is None:
            raise UnknownCaller("no such caller is configured, and none was counted")
        return Response({**_range(found.start, found.end), **_document(found, known)})


def _read(request: Request, serializer: type[RangeInput]) -> dict[str, Any]:
    """The query, with both days. Raises BadRequest and ValidationError."""
    data = validate_query(serializer, request)
    start, end = data["from"], data["to"]
    end = end or max(selectors.today(), start or date.min)
    start = start or end - timedelta(days=min(DEFAULT_DAYS - 1, (end - date.min).days))
    if start > end:
        raise BadRequest("from: must not be after `to`")
    if (end - start).days >= MAX_DAYS:
        raise BadRequest(f"from: must be at most {MAX_DAYS - 1} days before `to`")
    return {**data, "from": start, "to": end}


def _range(start: date, end: date) -> dict[str, Any]:
    return {"from": start.isoformat(), "to": end.isoformat(), "timezone": str(running().usage.timezone)}


def _document(found: CallerDetail, known: Profile | None) -> dict[str, Any]:
    shown = known or Profile(row=0, enabled=False)
    return {
        "kind": found.caller.kind.value,
        "name": found.caller.name,
        "configured": known is not None,
        "enabled": shown.enabled,
        "consumer": shown.consumer,
        "team": shown.team,
        "plan": shown.plan,
        "limits": LimitOutput(shown.limits, many=True).data,
        "quotas": None if shown.quotas is None else QuotaOutput(shown.quotas, many=True).data,
        "total": CountsOutput(found.total).data,
        **_last(found.last_at, found.last_day),
        "services": [{"service": each.usage.group[0], **_used(each)} for each in found.services],
        "routes": [
            {"service": each.usage.group[0], "route": each.usage.group[1], **_used(each)} for each in found.routes
        ],
        "days": [{"day": day.group[0], **CountsOutput(day).data} for day in found.days],
        "members": [_ranked_caller(each) for each in found.members],
    }


def _ranked_caller(each: RankedCaller) -> dict[str, Any]:
    name = {"kind": each.caller.kind.value, "name": each.caller.name}
    return {**name, "title": each.title, "consumer": each.consumer, **_used(each.found)}


def _used(each: Ranked) -> dict[str, Any]:
    return {**CountsOutput(each.usage).data, **_last(each.last_at, each.last_day)}


def _last(at: datetime | None, day: date | None) -> dict[str, Any]:
    text = None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"lastUsed": text, "lastDay": None if day is None else day.isoformat()}


def _unavailable() -> Unavailable:
    return Unavailable("usage cannot be read at the moment", retry_after=RETRY_SECONDS)
