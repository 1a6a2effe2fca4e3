"""The metrics API: a class an operation, reads through the selectors, writes through the services."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.authentication import SessionAuthentication
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from metrics import prometheus, selectors, services
from metrics.api import access
from metrics.api import serializers as shapes
from metrics.read_models import CircuitStatus
from resilience.breaker.machine import State

Method = TypeVar("Method", bound=Callable[..., HttpResponseBase])

HISTORY_SECONDS: Final = 3_600
PROBLEMS: Final = {(code, "application/problem+json"): shapes.ProblemOutput for code in (400, 401, 403, 404, 429, 503)}

_HITS: Final = {"hits": 945, "misses": 55, "hitRate": 94.5}
_CIRCUITS: Final = {
    "stats": {
        "crmIntelligence": {"state": "CLOSED", "failures": 2, "successes": 940, "totalRequests": 942},
        "slackIntelligence": {
            "state": "OPEN",
            "failures": 5,
            "successes": 18,
            "totalRequests": 31,
            "nextAttemptTime": "2026-01-31T12:00:41.250Z",
        },
    },
    "openCount": 1,
}
_PATHS: Final = ["/api/v1/crmIntelligence/contacts", "/api/v1/slackIntelligence/channels"]
_LATENCY: Final = {"p50": 1.048, "p95": 41.446, "p99": 104.762}


def documented(
    name: str,
    output: type[Serializer[Any]],
    example: Any,
    *,
    code: int = 200,
    takes: type[Serializer[Any]] | None = None,
    more: Sequence[OpenApiExample] = (),
) -> Callable[[Method], Method]:
    """What the operation answers, with an example, and how it may refuse."""
    document: Callable[[Method], Method] = extend_schema(
        operation_id=name,
        request=takes,
        responses={code: output, **PROBLEMS},
        examples=[_answer(example, code), *more],
        tags=["metrics"],
    )
    return document


def _answer(example: Any, code: int, name: str = "answer") -> OpenApiExample:
    return OpenApiExample(name, value=example, response_only=True, status_codes=[str(code)])


class Operation(APIView):
    """Staff by session, programs by key; JSON in and out; problems as the gateway tells them."""

    authentication_classes = (access.KeyAuthentication, SessionAuthentication)
    permission_classes = (access.MayReadOrWrite,)
    parser_classes = (JSONParser,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = access.AlwaysJson

    def check_throttles(self, request: Request) -> None:
        access.check_writes(request)

    def handle_exception(self, exc: Exception) -> Response:
        answer: Any = access.refusal(exc)
        if answer is None:
            return super().handle_exception(exc)
        if answer.status_code == status.HTTP_405_METHOD_NOT_ALLOWED:
            answer["Allow"] = ", ".join(self.allowed_methods)
        answer.exception = True
        return answer  # type: ignore[no-any-return] # REST framework takes any of Django's answers

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        response["Cache-Control"] = "private, no-store"
        return super().finalize_response(request, response, *args, **kwargs)


def taken(shape: type[Serializer[Any]], said: Any) -> dict[str, Any]:
    """What was said, checked. Raises ValidationError."""
    given = shape(data=said)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def ordered(name: str, state: State) -> Callable[[Method], Method]:
    return documented(
        name, shapes.OrderOutput, {"service": "slackIntelligence", "state": state.value}, takes=shapes.OrderInput
    )


class MetricsApi(Operation):
    @documented(
        "metrics",
        shapes.OverviewOutput,
        {
            "timestamp": "2026-01-31T12:00:00.000Z",
            "cache": {"connected": True, "stats": _HITS},
            "circuitBreakers": _CIRCUITS,
            "services": {},
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Everything at a glance; Prometheus or OpenMetrics text where `Accept` asks for it."""
        wanted = prometheus.negotiate(request.headers.get("Accept", ""))
        if wanted is not None:
            text, content_type = prometheus.exposition(wanted)
            return HttpResponse(text, content_type=content_type)
        seen = selectors.overview()
        document = {
            "timestamp": seen.at,
            "cache": seen.cache,
            "circuitBreakers": _circuits(list(seen.circuits.values())),
            "services": seen.services,
        }
        return Response(shapes.OverviewOutput(document).data)


class CacheApi(Operation):
    @documented(
        "cache",
        shapes.CacheOutput,
        {
            "connected": True,
            "stats": _HITS,
            "entries": 21,
            "bytes": 48_213,
            "byService": {"crmIntelligence": {**_HITS, "entries": 21, "bytes": 48_213}},
        },
    )
    def get(self, request: Request) -> Response:  # noqa: ARG002 - REST framework's signature, here and below
        """What the cache holds, and what came of it since the last reset."""
        return Response(shapes.CacheOutput(selectors.cache_usage()).data)

    @documented("emptyCache", shapes.KeysDeletedOutput, {"keysDeleted": 21})
    def delete(self, request: Request) -> Response:
        """Empty the cache, of every service."""
        return Response({"keysDeleted": services.flush(access.actor(request))})


class CacheResetApi(Operation):
    @documented("resetCacheStatistics", shapes.MessageOutput, {"message": "the cache's statistics count from zero"})
    def post(self, request: Request) -> Response:
        """Statistics to zero; what is cached stays."""
        services.reset_cache_statistics(access.actor(request))
        return Response({"message": "the cache's statistics count from zero"})


class CacheWarmApi(Operation):
    @extend_schema(parameters=[shapes.DryRunInput])
    @documented(
        "warmCache",
        shapes.WarmOutput,
        {"warmed": 20, "failed": 0},
        code=202,
        takes=shapes.WarmInput,
        more=[
            _answer({"warmed": 0, "failed": 0, "wouldWarm": 2}, 202, "of a dry run"),
            OpenApiExample("these", value={"paths": _PATHS}, request_only=True),
            OpenApiExample("how many of these", value={"paths": _PATHS, "dry_run": True}, request_only=True),
        ],
    )
    def post(self, request: Request) -> Response:
        """Fetch paths that all callers share, or the most-hit answers of the last day, each as its own caller.

        With `dry_run`, in the body or the query, only say how many would be fetched.
        """
        said = taken(shapes.WarmInput, request.data)
        dry_run = said["dry_run"] or taken(shapes.DryRunInput, request.query_params.dict())["dry_run"]
        outcome = services.warm(access.actor(request), said["paths"], dry_run=dry_run)
        return Response(shapes.WarmOutput(outcome).data, status=status.HTTP_202_ACCEPTED)


class CacheServiceApi(Operation):
    @extend_schema(parameters=[shapes.InvalidateInput])
    @documented("invalidateService", shapes.ServiceKeysDeletedOutput, {"service": "crmIntelligence", "keysDeleted": 3})
    def delete(self, request: Request, service: str) -> Response:
        """Take back a service's entries: all, or those with a tag; with `dry_run`, only say how many."""
        said = taken(shapes.InvalidateInput, request.query_params.dict())
        gone = services.invalidate(access.actor(request), service, said["tag"], dry_run=said["dry_run"])
        return Response({"service": service, "keysDeleted": gone})


class CircuitsApi(Operation):
    @documented("circuits", shapes.CircuitsOutput, _CIRCUITS)
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Every circuit."""
        return Response(shapes.CircuitsOutput(_circuits(selectors.circuits())).data)


class CircuitsResetApi(Operation):
    @documented("resetCircuits", shapes.ResetOutput, {"message": "1 circuit closed", "reset": ["slackIntelligence"]})
    def post(self, request: Request) -> Response:
        """Close every circuit that is not."""
        names = services.reset_circuits(access.actor(request))
        closed = f"{len(names)} circuit closed" if len(names) == 1 else f"{len(names)} circuits closed"
        return Response({"message": closed, "reset": names})


class CircuitOrderApi(Operation):
    """One order to one circuit, for `ttl` seconds or until the next; a reset has no end."""

    def order(self, request: Request, service: str, state: State) -> Response:
        said = taken(shapes.OrderInput, request.data)
        ttl = None if state is State.CLOSED else said["ttl"]
        after = services.override_circuit(access.actor(request), service, state, ttl, said["reason"])
        return Response({"service": service, "state": after.value})


class CircuitResetApi(CircuitOrderApi):
    @documented(
        "resetCircuit", shapes.OrderOutput, {"service": "slackIntelligence", "state": "CLOSED"}, takes=shapes.OrderInput
    )
    def post(self, request: Request, service: str) -> Response:
        """Close a circuit, whatever state it is in."""
        return self.order(request, service, State.CLOSED)


class CircuitOpenApi(CircuitOrderApi):
    @documented(
        "openCircuit",
        shapes.OrderOutput,
        {"service": "slackIntelligence", "state": "FORCED_OPEN"},
        takes=shapes.OrderInput,
    )
    def post(self, request: Request, service: str) -> Response:
        """Let no call through."""
        return self.order(request, service, State.FORCED_OPEN)


class CircuitDisableApi(CircuitOrderApi):
    @documented(
        "disableCircuit",
        shapes.OrderOutput,
        {"service": "slackIntelligence", "state": "DISABLED"},
        takes=shapes.OrderInput,
    )
    def post(self, request: Request, service: str) -> Response:
        """Let every call through, whatever fails."""
        return self.order(request, service, State.DISABLED)


class HistoryApi(Operation):
    @extend_schema(
        parameters=[
            OpenApiParameter("service", str, description="all of them together when left out"),
            OpenApiParameter("from", str, description="ISO 8601 or Unix seconds; an hour before `to` when left out"),
            OpenApiParameter("to", str, description="ISO 8601 or Unix seconds; now when left out"),
            OpenApiParameter("step", int, description="seconds, 60 when left out"),
        ]
    )
    @documented(
        "history",
        shapes.HistoryOutput,
        {
            "service": None,
            "step": 60,
            "points": [
                {
                    "time": "2026-01-31T12:00:00.000Z",
                    **_HITS,
                    "requests": 1_000,
                    "errors": 2,
                    "rateLimited": 0,
                    "latency": _LATENCY,
                }
            ],
        },
    )
    def get(self, request: Request) -> Response:
        """Requests, hit rate, errors and latencies over time. A step is as long as what is kept of that time."""
        said = taken(shapes.HistoryInput, request.query_params.dict())
        end = said["to"].timestamp() if said["to"] else selectors.now() + 60
        start = said["from"].timestamp() if said["from"] else end - HISTORY_SECONDS
        points = selectors.history(said["service"], start, end, said["step"])
        step = points[1].start - points[0].start if len(points) > 1 else said["step"]
        return Response(
            {
                "service": said["service"],
                "step": step,
                "points": [
                    {"time": shapes.iso(point.start), **shapes.TrafficStatsOutput(point.stats).data} for point in points
                ],
            }
        )


def _circuits(circuits: list[CircuitStatus]) -> dict[str, Any]:
    stopped = sum(circuit.state in selectors.OPEN_STATES for circuit in circuits)
    return {"stats": {circuit.service: circuit for circuit in circuits}, "openCount": stopped}
