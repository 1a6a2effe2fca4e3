"""The configuration API in the OpenAPI schema."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.serializers import Serializer

from metrics.api.base import marked
from metrics.api.configuration_access import WriteQuery
from metrics.api.representations import JSON, MERGE_PATCH, YAML

T = TypeVar("T", bound=Callable[..., HttpResponseBase])

_CHANGE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"pointer": {"type": "string", "description": "JSON pointer"}, "old": {}, "new": {}},
    "required": ["pointer", "old", "new"],
}
REPORT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "dry_run": {"type": "boolean"},
        "created": {"type": "object", "additionalProperties": {}},
        "changed": {"type": "object", "additionalProperties": {"type": "array", "items": _CHANGE}},
        "deleted": {"type": "object", "additionalProperties": {}},
        "warnings": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["dry_run", "created", "changed", "deleted", "warnings"],
}
DOCUMENT: Final[dict[str, Any]] = {"type": "object", "additionalProperties": {}}
_SERVICE: Final = {"targets": [{"url": "https://crm.example.com"}], "timeout": {"read": "5s"}}
_FILE: Final = {"version": 1, "services": {"crmIntelligence": _SERVICE}}
_REPORT: Final = {
    "dry_run": False,
    "created": {},
    "changed": {"crmIntelligence": [{"pointer": "/services/crmIntelligence/timeout/read", "old": "10s", "new": "5s"}]},
    "deleted": {},
    "warnings": [],
}
_REVISION: Final = {
    "id": 41,
    "created_at": "2026-01-31T12:00:00.000Z",
    "actor": "key:k3m5pq7a",
    "summary": "changed crmIntelligence",
    "label": "",
    "comment": "a slower backend",
}
_PROPOSAL: Final = {
    "id": 12,
    "created_at": "2026-01-31T12:00:00.000Z",
    "author": "key:k3m5pq7a",
    "summary": "changed crmIntelligence",
    "comment": "",
    "state": "waiting",
    "decided_at": None,
    "decided_by": "",
    "reason": "",
}
_EXAMPLES: Final[dict[str, Any]] = {
    "configurationProposals": {"proposals": [_PROPOSAL]},
    "configurationProposal": {**_PROPOSAL, "created": {}, "changed": _REPORT["changed"], "deleted": {}},
    "configurationHistory": {"revisions": [_REVISION]},
    "configurationRevision": {**_REVISION, "changes": ["@@ -1 +1 @@"], "document": "version: 1\nservices: {}\n"},
    "configuration": _FILE,
    "serviceConfiguration": _SERVICE,
    "serviceDocument": {"openapi": "3.1.0", "info": {"title": "CRM", "version": "1"}, "paths": {}},
}
_IF_MATCH: Final = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="the ETag of the version that is changed; * for any",
)
_IF_NONE_MATCH: Final = OpenApiParameter(
    "If-None-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, description="the ETag that the client has"
)


def configuration_operation(
    name: str,
    what: str,
    *,
    writes: bool = False,
    creates: bool = False,
    patches: bool = False,
    deletes: bool = False,
    query: type[Serializer[Any]] = WriteQuery,
) -> Callable[[T], T]:
    """Describe an operation: what it responds, as JSON or YAML, and what it accepts."""
    changes = writes or deletes
    output = REPORT if query is WriteQuery and changes else DOCUMENT
    shown = _REPORT if changes else _EXAMPLES[name]
    statuses = (200, 201) if creates else (200,)
    responses: dict[Any, Any] = {(status, media): output for status in statuses for media in (JSON, YAML)}
    if not changes:
        responses[304] = None
    media_types = (JSON, YAML, MERGE_PATCH) if patches else (JSON, YAML)
    described: Callable[[T], T] = extend_schema(
        operation_id=name,
        request=dict.fromkeys(media_types, DOCUMENT) if writes else None,
        responses=responses,
        parameters=[_IF_MATCH, query] if changes else [_IF_NONE_MATCH],
        examples=[OpenApiExample(what, value=shown, response_only=True, media_type=JSON)],
        tags=["configuration"],
    )
    return lambda operation: marked(described(operation), takes_content=writes)
