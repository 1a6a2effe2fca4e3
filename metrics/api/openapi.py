"""The parts of the OpenAPI schema that no REST framework view describes: services, events, health checks, errors."""

from collections.abc import Mapping
from typing import Any, Final

from metrics.api import problems
from metrics.api.problems import SERVICE_NAME
from metrics.callers.kinds import Kind
from routing.observability.health import Health
from routing.realtime.messages import RESERVED_TYPES

RESPONSE_HEADERS: Final = {
    "X-Request-ID": "id of the request",
    "X-Cache": "HIT, MISS, STALE, REVALIDATED or BYPASS",
    "Cache-Status": "how the cache handled the request (RFC 9211)",
    "X-Gateway-Fallback": "the other service that responded in place of this one",
    "RateLimit": "remaining requests of the rate limit",
}
HEALTH_ENDPOINTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "/health": ("Liveness: the process responds; checks nothing else", {"status": "ok"}),
    "/health/ready": ("Readiness: the configuration is loaded and requests are accepted", {"status": "ok"}),
    "/health/deep": (
        "Checks of the database, Redis, the channel layer and all services, cached for 5 seconds",
        {
            "status": "ok",
            "checks": {
                "database": {"status": "ok", "ms": 0.41},
                "crm": {"status": "ok", "ms": 0.02, "targets": {"up": 3, "canary": 1}},
            },
        },
    ),
}
PATH_PARAMETERS: Final = {
    "kind": ({"type": "string", "pattern": f"^({'|'.join(Kind)})$"}, "consumer"),
    "prefix": ({"type": "string", "pattern": "^[a-z2-7]{8}$"}, "k3m5pq7a"),
    "number": ({"type": "string", "pattern": "^[0-9]{1,18}$"}, "7"),
    "identifier": (
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"},
        "019bf3a1-7c40-7d5e-8c1f-3b9d2f6a7e10",
    ),
}
"""Parameters that are no service's name, each with an example."""
SERVICE_METHODS: Final = ("get", "head", "post", "put", "patch", "delete")
_CHAR: Final = r"[^\u0000-\u001f\u007f/\\]"
_SEGMENT: Final = {
    "type": "string",
    "pattern": rf"^([^\u0000-\u001f\u007f/\\.]|\.[^\u0000-\u001f\u007f/\\.]|\.\.{_CHAR}){_CHAR}*$",
}
"""No control characters, no encoded slash, no backslash, and not `.` or `..`."""
_TOPIC: Final = "[A-Za-z0-9][A-Za-z0-9._:/@+~-]{0,499}"
_KEY_OR_TOKEN: Final[list[dict[str, list[str]]]] = [{"apiKey": []}, {"bearer": []}]
_TEXTS: Final = ("text/plain", "application/openmetrics-text")
_TEXT: Final = {"schema": {"type": "string"}}


def add_gateway(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: see POSTPROCESSING_HOOKS in the settings."""
    paths = {
        path.rstrip("?").rstrip("/") or "/": operations
        for path, operations in result["paths"].items()
        if not path.startswith("/api/v1")
    }
    for operation in (operation for operations in paths.values() for operation in operations.values()):
        _complete(operation)
        _close_body(operation, result["components"]["schemas"])
    for operations in paths.values():
        _allow_empty(operations.get("get", {}))
    paths["/metrics"]["get"]["responses"]["200"]["content"] |= dict.fromkeys(_TEXTS, _TEXT)
    for report in ("/metrics/usage", "/metrics/savings"):
        paths[report]["get"]["responses"]["200"]["content"]["text/csv"] = _TEXT
    paths["/api/v1/{service}/{path}"] = {method: _service_operation(method) for method in SERVICE_METHODS}
    paths["/api/v1/"] = {"get": _list_services()}
    paths["/events"] = {"get": _stream_events(), "post": _publish_event()}
    paths["/hooks/{name}"] = {"post": _receive_webhook()}
    paths |= {path: {"get": _check_health(path, *texts)} for path, texts in HEALTH_ENDPOINTS.items()}
    result["paths"] = paths
    result["components"]["schemas"]["Problem"] = problems.PROBLEM_SCHEMA
    return result


def _complete(operation: dict[str, Any]) -> None:
    """What drf-spectacular leaves out of a view's operation.

    The first line of its docstring becomes the summary and the rest the description. Each security scheme is an
    alternative: schemes of one object are required together.
    """
    summary, _, rest = operation.pop("description", "").partition("\n")
    operation["summary"] = summary.rstrip(".")
    if rest.strip():
        operation["description"] = rest.strip()
    operation["security"] = [
        {name: scopes} for schemes in operation.get("security", ()) for name, scopes in schemes.items()
    ]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            known = PATH_PARAMETERS.get(parameter["name"], (SERVICE_NAME, "crmIntelligence"))
            parameter |= {"schema": known[0], "example": known[1]}
    for body in operation.get("requestBody", {}).get("content", {}).values():
        body.setdefault("examples", {"empty": {"value": {}}})
    own = problems.CONFIGURATION if operation["tags"] == ["configuration"] else problems.METRICS
    operation["responses"] |= problems.problem_responses(own)


def _allow_empty(operation: dict[str, Any]) -> None:
    """An empty parameter of a read is one that is not given: see `base.validate_query`."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            parameter["allowEmptyValue"] = True


def _close_body(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """A request's content has no members that are not described: `base.validate_body` refuses them."""
    for body in operation.get("requestBody", {}).get("content", {}).values():
        name = body.get("schema", {}).get("$ref", "").rpartition("/")[2]
        if name:
            schemas[name].setdefault("additionalProperties", False)


def _service_operation(method: str) -> dict[str, Any]:
    responses = problems.problem_responses(problems.SERVICES)
    for response in responses.values():  # a service may respond with the same status
        response["content"]["*/*"] = {}
    operation: dict[str, Any] = {
        "operationId": f"service_{method}",
        "tags": ["services"],
        "parameters": [
            {"name": "service", "in": "path", "required": True, "schema": SERVICE_NAME, "example": "crmIntelligence"},
            {
                "name": "path",
                "in": "path",
                "required": True,
                "description": "the path within the service; further segments follow after slashes",
                "schema": _SEGMENT,
                "example": "contacts",
            },
        ],
        "summary": "Call a service through the gateway",
        "description": "Any other method is passed to the service too, except TRACE and CONNECT.",
        "security": _KEY_OR_TOKEN,
        "responses": {
            "default": {"description": "response of the service", "headers": _headers(), "content": {"*/*": {}}},
            **responses,
        },
    }
    if method in ("post", "put", "patch"):
        example = {"content": {"application/json": {"schema": {}, "example": {"name": "Ada"}}, "*/*": {"schema": {}}}}
        operation["requestBody"] = {**example, "description": "passed to the service unchanged"}
    return operation


def _list_services() -> dict[str, Any]:
    service = {
        "name": SERVICE_NAME,
        "path": {"type": "string"},
        "enabled": {"type": "boolean"},
    }
    example = {"services": [{"name": "crmIntelligence", "path": "/api/v1/crmIntelligence/", "enabled": True}]}
    schema = _object({"services": {"type": "array", "items": _object(service)}})
    return {
        "operationId": "services",
        "tags": ["services"],
        "summary": "List the services this caller may use",
        "security": _KEY_OR_TOKEN,
        "responses": {
            "200": _json_response("services by name", schema, example),
            **problems.problem_responses(problems.INDEX),
        },
    }


def _stream_events() -> dict[str, Any]:
    return {
        "operationId": "events",
        "tags": ["events"],
        "summary": "Subscribe to circuit transitions, cache invalidations and published events, as server-sent events",
        "parameters": [
            {
                "name": "topics",
                "in": "query",
                "required": True,
                "description": "1 to 100 topics, separated by commas",
                "schema": {"type": "string", "pattern": f"^{_TOPIC}(,{_TOPIC}){{0,99}}$"},
                "example": "orders,service:crmIntelligence",
            },
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "resume after this event",
                "schema": {"type": "string"},
                "example": "1769860841250-0",
            },
        ],
        "security": _KEY_OR_TOKEN,
        "responses": {
            "200": {
                "description": "a stream of events",
                "content": {"text/event-stream": {**_TEXT, "example": "retry: 3000\n\n"}},
            },
            **problems.problem_responses(problems.EVENTS),
        },
    }


def _publish_event() -> dict[str, Any]:
    kind = r"^[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*$"
    event = {
        "topic": {"type": "string", "pattern": f"^{_TOPIC}$"},
        "type": {"type": "string", "maxLength": 64, "pattern": kind, "not": {"enum": sorted(RESERVED_TYPES)}},
        "data": {"description": "any JSON value"},
    }
    schema = {**_object(event), "required": ["topic", "type"], "additionalProperties": False}
    example = {"topic": "orders", "type": "contact.changed", "data": {"id": 7}}
    return {
        "operationId": "publishEvent",
        "tags": ["events"],
        "summary": "Publish an event to the subscribers of its topic (requires scope events:publish)",
        "security": _KEY_OR_TOKEN,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {
            "202": _json_response(
                "id of the event; ids increase", _object({"id": {"type": "string"}}), {"id": "1769860841250-0"}
            ),
            **problems.problem_responses(problems.EVENTS),
        },
    }


def _receive_webhook() -> dict[str, Any]:
    schema = _object({"status": {"type": "string", "enum": ["queued", "duplicate"]}})
    return {
        "operationId": "receiveWebhook",
        "tags": ["webhooks"],
        "summary": "Receive a delivery of a provider, which proves by its signature that it is its own",
        "parameters": [
            {
                "name": "name",
                "in": "path",
                "required": True,
                "description": "the webhook's name in the configuration",
                "schema": SERVICE_NAME,
                "example": "slack",
            }
        ],
        "security": [],
        "requestBody": {
            "description": "as the provider sends it, at most 1 MB",
            "content": {"application/json": {"schema": {}, "example": {"event_id": "Ev1"}}, "*/*": {"schema": {}}},
        },
        "responses": {
            "200": {
                "description": "queued, or accepted before; a handshake's response has its provider's form",
                "content": {"application/json": {"schema": {"anyOf": [schema, {"type": "object"}]}}},
            },
            **problems.problem_responses(problems.WEBHOOKS),
        },
    }


def _check_health(path: str, summary: str, example: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "status": {"type": "string", "enum": [health.value for health in Health]},
            "checks": {"type": "object", "additionalProperties": {"type": "object"}},
        },
        "required": ["status"],
    }
    unhealthy = {**example, "status": "down"}
    return {
        "operationId": path.strip("/").replace("/", "_"),
        "tags": ["health"],
        "summary": summary,
        "security": [],
        "responses": {
            "200": _json_response("healthy", schema, example),
            "503": _json_response("unhealthy", schema, unhealthy),
            **problems.problem_responses(problems.HEALTH),
        },
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object whose properties are all required."""
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _json_response(description: str, schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}


def _headers() -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in RESPONSE_HEADERS.items()}
