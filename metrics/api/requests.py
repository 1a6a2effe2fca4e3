"""`/metrics/requests`: single requests, searched and looked up by their id."""

from typing import Any, Final

import msgspec
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from metrics import requests
from metrics.api import access
from metrics.api.base import LimitedReadView, documented, validate_query
from metrics.api.filters import name_filters
from metrics.api.serializers import MAX_TIMESTAMP, QueryInteger, Text, Timestamp
from metrics.request_log.record import RecordKind
from metrics.request_log.search import RequestQuery
from metrics.request_log.store import Position
from metrics.requests import UnknownRequest
from routing.errors import Unavailable

KINDS: Final = [kind.value for kind in RecordKind]
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000
FILTERS: Final = ("id", "caller", "key", "consumer", "team", "service", "route", "method", "code")
_STATUS: Final = r"^([1-5]xx|[1-5][0-9]{2})?$"
_POSITION: Final = r"^([0-9]{1,16}-[0-9]{1,16})?$"
_TIME: Final = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": 0, "maximum": MAX_TIMESTAMP},
    ]
}
_TEXT: Final = {"type": "string", "maxLength": 300, "pattern": r"^[^\u0000]*$"}
_STEP: Final = {"name": "circuit breaker", "verdict": "CLOSED", "at": 0.000412, "error": ""}
_EXAMPLE: Final = {
    "position": "1769860800123-0",
    "time": "2026-01-31T12:00:00.000Z",
    "id": "019bf3a1-7c40-7d5e-8c1f-3b9d2f6a7e10",
    "kind": "failed",
    "method": "GET",
    "scheme": "https",
    "host": "gateway.example.com",
    "path": "/api/v1/crm/contacts",
    "query": "page=***",
    "client": "192.0.2.1",
    "caller": "key:k3m5pq7a",
    "consumer": "acme",
    "team": "",
    "plan": "",
    "service": "crm",
    "route": "/contacts",
    "also": [],
    "status": 502,
    "code": "bad_gateway",
    "callError": "bad_gateway",
    "reason": "refused",
    "aborted": "",
    "outcome": "",
    "fallback": "",
    "circuit": "",
    "target": "http://127.0.0.1:9101",
    "retries": 1,
    "duration": 0.0124,
    "head": 0.0123,
    "backend": None,
    "bytes": 214,
    "cache": "MISS",
    "cacheStatus": "gateway; fwd=uri-miss",
    "cacheKey": "0f3a",
    "cacheRule": "300 s, per user",
    "configuration": 41,
    "share": 1.0,
    "trace": "",
    "steps": [_STEP],
}


class RequestsInput(serializers.Serializer[Any]):
    status = Text(required=False, default="", allow_blank=True, max_length=3)
    kind = serializers.ChoiceField(choices=KINDS, required=False, default=None)
    to = Timestamp(required=False, default=None)
    before = Text(required=False, default="", allow_blank=True, max_length=40)
    limit = QueryInteger(required=False, default=DEFAULT_LIMIT, min_value=1, max_value=MAX_LIMIT)

    def get_fields(self) -> dict[str, Any]:
        start = {"from": Timestamp(required=False, default=None)}  # a keyword in Python
        return {**super().get_fields(), **name_filters(FILTERS), **start}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["from"] and attrs["to"] and attrs["from"] > attrs["to"]:
            raise serializers.ValidationError({"from": "must not be after `to`"})
        return attrs


class StepOutput(serializers.Serializer[Any]):
    name = serializers.CharField()
    verdict = serializers.CharField(allow_blank=True)
    at = serializers.FloatField(allow_null=True, help_text="seconds since the start; null where it was not timed")
    error = serializers.CharField(allow_blank=True, help_text="code of the error that the step raised")


class RequestOutput(serializers.Serializer[Any]):
    """Durations are seconds. There is no body, no header field and no credential; values of the query are masked."""

    position = serializers.CharField(help_text="`before` of a search that continues from here")
    time = serializers.DateTimeField()
    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=KINDS)
    status = serializers.IntegerField()
    retries = serializers.IntegerField()
    duration = serializers.FloatField(help_text="until the end of the response")
    head = serializers.FloatField(help_text="until its header fields")
    backend = serializers.FloatField(allow_null=True, help_text="of the last call")
    bytes = serializers.IntegerField()
    configuration = serializers.IntegerField(help_text="version that decided; 0: one that has been replaced since")
    share = serializers.FloatField(help_text="share of such requests that are recorded: 0.01 stands for 100 of them")
    also = serializers.ListField(child=serializers.CharField(), help_text="other routes whose restrictions applied")
    steps = StepOutput(many=True)

    def get_fields(self) -> dict[str, Any]:
        own = super().get_fields()
        texts = (name for name, value in _EXAMPLE.items() if isinstance(value, str) and name not in own)
        return {**own, **{name: serializers.CharField(allow_blank=True) for name in texts}}


class RequestsOutput(serializers.Serializer[Any]):
    requests = RequestOutput(many=True)
    next = serializers.CharField(allow_null=True, help_text="`before` of the search that continues")
    isShared = serializers.BooleanField(  # noqa: N815 - a key of the API
        help_text="false while Redis is unavailable: then only those of the worker that responds"
    )
    omitted = serializers.IntegerField(help_text="requests that were not recorded, because too many came at once")


class RequestRecordsOutput(serializers.Serializer[Any]):
    requests = RequestOutput(many=True, help_text="the latest first: clients may repeat an id")


class RequestsView(LimitedReadView):
    @extend_schema(
        parameters=[
            *(OpenApiParameter(name, _TEXT, description="only of this one; empty: of all") for name in FILTERS),
            OpenApiParameter("status", {"type": "string", "pattern": _STATUS}, description="such as 404 or 5xx"),
            OpenApiParameter("kind", {"type": "string", "enum": [kind.value for kind in RecordKind]}),
            OpenApiParameter("from", _TIME, description="earliest start"),
            OpenApiParameter("to", _TIME, description="start, excluded"),
            OpenApiParameter("before", {"type": "string", "pattern": _POSITION}, description="`next` of a response"),
            OpenApiParameter(
                "limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
            ),
        ]
    )
    @documented(
        "requests",
        RequestsOutput,
        {"requests": [_EXAMPLE], "next": "1769860800123-0", "isShared": True, "omitted": 0},
    )
    def get(self, request: Request) -> Response:
        """Search the request log: failed requests, slow ones and a sample of the others, the latest first.

        A search reads a bounded number of records: `next` may follow also where few match.
        """
        data = _input(request)
        before = Position.parse(data["before"]) if data["before"] else None
        query = msgspec.structs.replace(_query(data), names=access.visible(request))
        found = requests.search(query, before=before, limit=data["limit"])
        return Response(
            {
                "requests": [requests.to_document(each) for each in found.records],
                "next": None if found.next is None else str(found.next),
                "isShared": found.is_shared,
                "omitted": requests.omitted(),
            }
        )


class RequestView(LimitedReadView):
    @documented("request", RequestRecordsOutput, {"requests": [_EXAMPLE]})
    def get(self, request: Request, identifier: str) -> Response:
        """Get the records of a request id."""
        found = requests.find(identifier, access.visible(request))
        if not found.records and not found.is_shared:
            raise Unavailable("the request log is unavailable", retry_after=1)
        if not found.records:
            raise UnknownRequest("no request with this id is recorded")
        return Response({"requests": [requests.to_document(each) for each in found.records]})


def _input(request: Request) -> dict[str, Any]:
    """Raises BadRequest and ValidationError."""
    return validate_query(RequestsInput, request)


def _query(data: dict[str, Any]) -> RequestQuery:
    """Raises ValueError."""
    start, end = data["from"], data["to"]
    return RequestQuery(
        status=data["status"],
        kind=RecordKind(data["kind"]) if data["kind"] else None,
        start=start.timestamp() if start else None,
        end=end.timestamp() if end else None,
        **{name: data[name] for name in FILTERS},
    )
