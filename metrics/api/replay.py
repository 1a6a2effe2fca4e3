"""`POST /metrics/replay`: what a draft of the configuration would change for recorded requests."""

from typing import Any, ClassVar, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from metrics.api import access, representations
from metrics.api.base import MetricsView, Parameters, documented, validate_query
from metrics.api.configuration_access import visible_services
from metrics.api.configuration_schema import DOCUMENT
from metrics.api.serializers import MAX_TIMESTAMP, QueryFlag, QueryInteger, Text, Timestamp
from metrics.replay.decision import Verdict
from metrics.replay.replay import DEFAULT_LIMIT, MAX_LIMIT, Selection, replay
from metrics.replay.report import to_document
from routing.caller import Caller
from routing.configuration.faults import ConfigurationError
from routing.configuration_errors import UnknownDocument
from routing.database.draft import ChangeConfiguration, apply_file, approve_proposal, restore_revision
from routing.errors import Forbidden
from routing.keys.scopes import CONFIG_WRITE
from routing.models import ConfigurationProposal, ConfigurationRevision
from routing.rights import Right, may

_TIME: Final = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number", "minimum": 0, "maximum": MAX_TIMESTAMP}]
}
_COUNT: Final = {"records": 40, "requests": 1_300}
_NONE: Final = {"records": 0, "requests": 0}
_NOW: Final = {
    "verdict": "routed",
    "service": "crm",
    "route": "/contacts",
    "status": 200,
    "code": "",
    "cache": "MISS",
    "cacheRule": "300 s, per user",
    "fallback": "",
}
_EXAMPLE: Final = {
    "replayed": {"records": 4_000, "requests": 130_000},
    "changed": _COUNT,
    "cacheChanged": _NONE,
    "now": {"routed": {"records": 4_000, "requests": 130_000}},
    "draft": {"routed": {"records": 3_960, "requests": 128_700}, "limited": _COUNT},
    "transitions": [{"now": "routed", "draft": "limited", **_COUNT}],
    "differences": {"verdict": _COUNT, "status": _COUNT, "code": _COUNT},
    "services": [{"service": "crm", "records": 4_000, "requests": 130_000, "changed": _COUNT}],
    "examples": [
        {
            "id": "019bf3a1-7c40-7d5e-8c1f-3b9d2f6a7e10",
            "position": "1769860800123-0",
            "time": "2026-01-31T12:00:00.000Z",
            "method": "GET",
            "target": "/api/v1/crm/contacts?page=***",
            "caller": "key:k3m5pq7a",
            "recorded": {"status": 200, "code": "", "cache": "MISS"},
            "now": _NOW,
            "draft": {**_NOW, "verdict": "limited", "status": 429, "code": "rate_limited", "cache": ""},
            "differences": ["verdict", "status", "code"],
        }
    ],
    "omitted": {"websocket": 3},
    "configuration": {"created": {}, "changed": {}, "deleted": {}},
    "warnings": [],
    "notes": ["Backends respond as they did."],
    "seconds": 2.1,
}


class ReplayPermission(BasePermission):
    """Callers who may apply the draft and see the requests: the result can rule out guesses at a stored secret."""

    message = (
        "requires a staff account that may configure the gateway, or an API key with the scopes "
        f"{access.READ_SCOPE} and {CONFIG_WRITE}"
    )

    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002 - REST framework's signature
        if isinstance(request.auth, Caller):
            return request.auth.has_scope(access.READ_SCOPE) and request.auth.has_scope(CONFIG_WRITE)
        return may(request.user, Right.CONFIGURE)


class ReplayQuery(serializers.Serializer[Any]):
    service = Text(required=False, default="", allow_blank=True, max_length=63)
    to = Timestamp(required=False, default=None)
    limit = QueryInteger(required=False, default=DEFAULT_LIMIT, min_value=1, max_value=MAX_LIMIT)
    prune = QueryFlag(required=False, default=False)
    revision = QueryInteger(required=False, default=None, min_value=1, max_value=10**18)
    proposal = QueryInteger(required=False, default=None, min_value=1, max_value=10**18)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "from": Timestamp(required=False, default=None)}


class CountOutput(serializers.Serializer[Any]):
    records = serializers.IntegerField(help_text="that were replayed")
    requests = serializers.FloatField(help_text="that they stand for, by the share that was recorded")


class TransitionOutput(CountOutput):
    now = serializers.CharField(help_text=f"the verdict: {', '.join(Verdict)}")
    draft = serializers.CharField()


class ReplayedServiceOutput(CountOutput):
    service = serializers.CharField(allow_blank=True, help_text="empty: of no service")
    changed = CountOutput()


class ReplayOutput(serializers.Serializer[Any]):
    replayed = CountOutput()
    changed = CountOutput(help_text="requests that would end differently for their callers")
    cacheChanged = CountOutput(  # noqa: N815 - a key of the API
        help_text="responses that would be stored differently, or under another key"
    )
    now = serializers.DictField(child=CountOutput(), help_text="by verdict, under the present configuration")
    draft = serializers.DictField(child=CountOutput(), help_text="by verdict, under the draft")
    transitions = TransitionOutput(many=True)
    differences = serializers.DictField(child=CountOutput(), help_text="by what differs")
    services = ReplayedServiceOutput(many=True)
    examples = serializers.ListField(child=serializers.DictField())
    omitted = serializers.DictField(child=serializers.IntegerField(), help_text="requests that were not replayed")
    configuration = serializers.DictField(help_text="what the draft changes")
    warnings = serializers.ListField(child=serializers.CharField())
    notes = serializers.ListField(child=serializers.CharField(), help_text="what the result cannot tell")
    seconds = serializers.FloatField()


class ReplayView(MetricsView):
    parameters: ClassVar[Parameters] = {"POST": ReplayQuery}
    permission_classes = (ReplayPermission,)

    @extend_schema(
        parameters=[
            OpenApiParameter("service", {"type": "string", "maxLength": 63}, description="only of this one"),
            OpenApiParameter("from", _TIME, description="earliest start"),
            OpenApiParameter("to", _TIME, description="start, excluded"),
            OpenApiParameter(
                "limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
            ),
            OpenApiParameter("prune", bool, description="the draft deletes what it does not contain"),
            OpenApiParameter(
                "revision",
                {"type": "integer", "minimum": 1, "maximum": 10**18},
                description="replay a rollback to this revision; the body is then not read",
            ),
            OpenApiParameter(
                "proposal",
                {"type": "integer", "minimum": 1, "maximum": 10**18},
                description="replay the approval of this proposal; the body is then not read",
            ),
        ]
    )
    @documented(
        "replay",
        ReplayOutput,
        _EXAMPLE,
        body=dict.fromkeys((representations.JSON, representations.YAML), DOCUMENT),
    )
    def post(self, request: Request) -> Response:
        """Decide recorded requests once more, under the present configuration and under a draft of another.

        The draft is a configuration file in JSON or YAML. Services that it does not contain stay as they are.
        """
        if visible_services(request) is not None:
            raise Forbidden("your rights are for some services, and requests to others are replayed")
        query = _query(request)
        lines, change = _change(request, query)
        selection = Selection(service=query["service"], start=query["from"], end=query["to"], limit=query["limit"])
        try:
            return Response(to_document(replay(change, selection)))
        except ConfigurationError as error:
            raise representations.invalid(error, with_lines=lines) from None


def _query(request: Request) -> dict[str, Any]:
    """Raises BadRequest and ValidationError."""
    found = validate_query(ReplayQuery, request)
    return found | {name: found[name].timestamp() if found[name] else None for name in ("from", "to")}


def _change(request: Request, query: dict[str, Any]) -> tuple[bool, ChangeConfiguration]:
    """Whether faults have lines, and the change. Raises UnknownDocument, and as `representations.read`."""
    if query["proposal"] is not None:
        proposal = ConfigurationProposal.objects.filter(pk=query["proposal"]).first()
        if proposal is None:
            raise UnknownDocument(f"there is no proposal {query['proposal']}")
        return False, approve_proposal(proposal)
    if query["revision"] is not None:
        revision = ConfigurationRevision.objects.filter(pk=query["revision"]).first()
        if revision is None:
            raise UnknownDocument(f"there is no revision {query['revision']}")
        return False, restore_revision(revision)
    document = representations.read(request)
    return bool(document.lines), apply_file(document, prune=query["prune"])
