"""`POST /api/explain`: what the gateway would do with a request. Changes nothing, so permission to read suffices."""

from typing import Any, Final

import msgspec
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from metrics.api import access
from metrics.api.base import MetricsView, documented
from metrics.explain import ExplainRequest, explain
from routing.caller import Caller
from routing.rights import Right


class ReadPermission(access.ReadOrWritePermission):
    """Staff, or a key with `metrics:read`, also for POST."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if isinstance(request.auth, Caller):
            return request.auth.has_scope(access.READ_SCOPE)
        return access.permits(request, view, Right.VIEW)


_CALLER: Final = r"^(key:.+|firebase(\+[^:]*)?:.+|(jwt|certificate|signature)\+[^:]+:.+|)$"
INPUT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "path": {
            "type": "string",
            "pattern": "^/",
            "description": "request target as a client sends it, with its query",
        },
        "method": {"type": "string", "pattern": "^[A-Za-z]+$", "default": "GET"},
        "headers": {"type": "object", "additionalProperties": {"type": "string", "pattern": r"^[\u0000-\u00ff]*$"}},
        "caller": {
            "nullable": True,
            "description": "a caller as logs name it, by a key, a token, a certificate or a signature; or hypothetical",
            "anyOf": [
                {
                    "type": "string",
                    "pattern": _CALLER,
                },
                {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "scopes": {"type": "array", "items": {"type": "string"}, "nullable": True},
                        "tenant": {"type": "string", "nullable": True},
                    },
                    "required": ["id"],
                    "additionalProperties": False,
                },
            ],
        },
        "ip": {
            "type": "string",
            "nullable": True,
            "description": "the client's address; without one, lists of addresses are not applied",
        },
    },
    "required": ["path"],
    "additionalProperties": False,
}


class ExplainOutput(serializers.Serializer[Any]):
    request = serializers.DictField()
    verdict = serializers.DictField()
    service = serializers.DictField(allow_null=True)
    nearly = serializers.ListField(child=serializers.CharField())
    routes = serializers.ListField(child=serializers.DictField())
    access = serializers.DictField(allow_null=True)
    rate_limit = serializers.DictField(allow_null=True)
    cache = serializers.DictField(allow_null=True)
    circuit = serializers.DictField(allow_null=True)
    call = serializers.DictField(allow_null=True)


EXAMPLE: Final = {
    "request": {"method": "GET", "path": "/api/v1/crm/contacts/7", "query": "", "caller": "key:abcdefgh"},
    "verdict": {"outcome": "the backend is called", "status": None, "code": None, "detail": ""},
    "service": {"name": "crm", "found_by": "path", "route": "/contacts/{id}", "params": {"id": "7"}},
    "nearly": [],
    "routes": [{"path": "/contacts", "methods": [], "matches": False, "why": "the path continues with '7'"}],
}


class ExplainView(MetricsView):
    permission_classes = (ReadPermission,)
    limited = ("POST",)

    def check_throttles(self, request: Request) -> None:
        """An explanation does not count as a write."""

    @documented("explain", ExplainOutput, EXAMPLE, body={"application/json": INPUT})
    def post(self, request: Request) -> Response:
        """Explain a request without sending it: the matching service and route, and the result of each step."""
        question = msgspec.convert(request.data, ExplainRequest)
        return Response(msgspec.to_builtins(explain(question, access.visible(request))))
