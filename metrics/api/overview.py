"""`/metrics` and `/metrics/history`: the traffic of all services, now and over time."""

from typing import Any, Final

from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import (
    BooleanField,
    CharField,
    ChoiceField,
    DictField,
    FloatField,
    IntegerField,
    Serializer,
    SerializerMethodField,
)

from metrics import prometheus, selectors
from metrics.api import access, examples, serializers
from metrics.api.base import LimitedReadView, documented, validate_query
from metrics.api.circuits import circuits_document
from metrics.api.problems import SERVICE_NAME
from metrics.charts.points import history
from metrics.objectives import current
from metrics.read_models import TargetStatus
from metrics.targets.status import words
from metrics.timestamps import iso_timestamp
from routing.balancing.rules import TargetCondition
from routing.rights import within

HISTORY_SECONDS: Final = 3_600
_TIME: Final = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": 0, "maximum": serializers.MAX_TIMESTAMP},
    ]
}
_STEP: Final = {"type": "integer", "minimum": 60, "maximum": serializers.MAX_STEP_SECONDS, "default": 60}


class ObjectiveOutput(Serializer[Any]):
    name = ChoiceField(choices=["availability", "latency"])
    text = CharField(help_text="what is to hold, in words")
    target = FloatField(help_text="share of requests")
    days = IntegerField(help_text="over which it is to hold")
    total = IntegerField(help_text="requests in these days")
    bad = IntegerField(help_text="those that did not meet it")
    budgetUsed = FloatField(source="budget_used", help_text="share of the error budget")  # noqa: N815 - a key of JSON
    burnRates = DictField(child=FloatField(), source="burn_rates", help_text="by window")  # noqa: N815 - a key of JSON


class TargetOutput(Serializer[Any]):
    url = CharField()
    condition = ChoiceField(choices=[condition.value for condition in TargetCondition])
    workers = CharField(help_text="how many see it so (`1 of 4`), if not all do: each worker ejects for itself")
    weight = IntegerField(help_text="its share among the weights of all; 0: disabled")
    canary = FloatField(help_text="percent of callers that it gets; 0: no canary")
    alwaysUp = BooleanField(source="always_up", help_text="kept up by an operator")  # noqa: N815 - a key of JSON
    text = SerializerMethodField(help_text="all of it as the dashboard says it")

    def get_text(self, target: TargetStatus) -> str:
        return ", ".join(words(target))


class OverviewOutput(Serializer[Any]):
    timestamp = serializers.Timestamp()
    cache = serializers.CacheSummary()
    circuitBreakers = serializers.CircuitsOutput()  # noqa: N815 - a key of JSON
    services = DictField(
        child=serializers.ServiceOutput(), help_text="by name; the empty name has the requests that matched no service"
    )
    objectives = DictField(child=ObjectiveOutput(many=True), help_text="service level objectives, by service")
    targets = DictField(
        child=TargetOutput(many=True), help_text="targets and their condition in all workers, by service"
    )


class OverviewView(LimitedReadView):
    @documented(
        "metrics",
        OverviewOutput,
        {
            "timestamp": "2026-01-31T12:00:00.000Z",
            "cache": {"connected": True, "stats": examples.HITS},
            "circuitBreakers": examples.CIRCUITS,
            "services": {},
            "objectives": {"crmIntelligence": [examples.OBJECTIVE]},
            "targets": {"crmIntelligence": [examples.TARGET]},
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Get an overview of everything; as Prometheus or OpenMetrics text if `Accept` prefers it."""
        output, names = prometheus.negotiate(request.headers.get("Accept", "")), access.visible(request)
        if output is not None:
            access.require_service(request, None)
            text, content_type = prometheus.exposition(output)
            return HttpResponse(text, content_type=content_type)
        overview, conditions = selectors.overview(names), selectors.target_conditions()
        document = {
            "timestamp": overview.at,
            "cache": overview.cache,
            "circuitBreakers": circuits_document(list(overview.circuits.values())),
            "services": overview.services,
            "objectives": {name: found for name, found in current.objectives().items() if within(name, names)},
            "targets": {name: conditions.of(selectors.get_service(name)) for name in selectors.service_names(names)},
        }
        return Response(OverviewOutput(document).data)


class HistoryView(LimitedReadView):
    @extend_schema(
        parameters=[
            OpenApiParameter("service", SERVICE_NAME, description="name of a service; default: all together"),
            OpenApiParameter("from", _TIME, description="ISO 8601 or Unix seconds; default: an hour before `to`"),
            OpenApiParameter("to", _TIME, description="ISO 8601 or Unix seconds; default: now"),
            OpenApiParameter("step", _STEP, description="seconds; default: 60"),
        ]
    )
    @documented(
        "history",
        serializers.HistoryOutput,
        {
            "service": None,
            "step": 60,
            "points": [
                {
                    "time": "2026-01-31T12:00:00.000Z",
                    **examples.HITS,
                    "requests": 1_000,
                    "errors": 2,
                    "rateLimited": 0,
                    "latency": examples.LATENCY,
                }
            ],
        },
    )
    def get(self, request: Request) -> Response:
        """Get requests, hit rate, errors and latencies over time.

        A step is extended to the resolution that is still stored for that time: a minute for 48 hours, an hour for 60
        days, a day for two years.
        """
        data = validate_query(serializers.HistoryInput, request)
        if data["service"]:
            access.require_service(request, data["service"])
        end = data["to"].timestamp() if data["to"] else selectors.now() + 60
        start = data["from"].timestamp() if data["from"] else end - HISTORY_SECONDS
        points = history(data["service"], start, end, data["step"], access.visible(request))
        step = points[1].start - points[0].start if len(points) > 1 else data["step"]
        return Response(
            {
                "service": data["service"],
                "step": step,
                "points": [
                    {
                        "time": iso_timestamp(point.start),
                        **serializers.TrafficStatsOutput(point.stats).data,
                    }
                    for point in points
                ],
            }
        )
