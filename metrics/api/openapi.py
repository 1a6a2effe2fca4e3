"""The parts of the OpenAPI schema that no REST framework view describes: services, events and health checks."""

from typing import Any, Final

RESPONSE_HEADERS: Final = {
    "X-Request-ID": "id of the request",
    "X-Cache": "HIT, MISS, STALE, REVALIDATED or BYPASS",
    "Cache-Status": "how the cache handled the request (RFC 9211)",
    "X-Gateway-Fallback": "the other service that responded in place of this one",
    "RateLimit": "remaining requests of the rate limit",
}
ERRORS: Final = {
    "400": "bad_request",
    "401": "unauthenticated",
    "403": "forbidden",
    "404": "unknown_service",
    "405": "method_not_allowed",
    "413": "body_too_large",
    "429": "rate_limited",
    "502": "bad_gateway",
    "503": "circuit_open, service_disabled, service_misconfigured, configuration_unavailable or overloaded",
    "504": "upstream_timeout",
}


HEALTH_ENDPOINTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "/health": ("Liveness: the process responds; checks nothing else", {"status": "ok"}),
    "/health/ready": ("Readiness: the configuration is loaded and requests are accepted", {"status": "ok"}),
    "/health/deep": (
        "Checks of the database, Redis, the channel layer and all services, cached for 5 seconds",
        {"status": "ok", "checks": {"database": {"status": "ok", "ms": 0.41}}},
    ),
}
SERVICE_METHODS: Final = ("get", "head", "post", "put", "patch", "delete")


def add_gateway(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: see POSTPROCESSING_HOOKS in the settings."""
    paths = {
        path.rstrip("?").rstrip("/") or "/": operations
        for path, operations in result["paths"].items()
        if not path.startswith("/api/v1")
    }
    for operation in (operation for operations in paths.values() for operation in operations.values()):
        _split_description(operation)
        _split_security(operation)
    paths["/api/v1/{service}/{path}"] = {method: _service_operation(method) for method in SERVICE_METHODS}
    paths["/api/v1/"] = {"get": _list_services()}
    paths["/events"] = {"get": _stream_events(), "post": _publish_event()}
    paths |= {path: {"get": _check_health(path, *texts)} for path, texts in HEALTH_ENDPOINTS.items()}
    result["paths"] = paths
    return result


def _split_description(operation: dict[str, Any]) -> None:
    """Make the first line of a view's docstring the summary and the rest the description."""
    summary, _, rest = operation.pop("description", "").partition("\n")
    operation["summary"] = summary.rstrip(".")
    if rest.strip():
        operation["description"] = rest.strip()


def _split_security(operation: dict[str, Any]) -> None:
    """Make each scheme an alternative: schemes of one object are required together."""
    operation["security"] = [
        {name: scopes} for schemes in operation.get("security", ()) for name, scopes in schemes.items()
    ]


def _path_parameter(name: str, example: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": example}


def _service_operation(method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"service_{method}",
        "tags": ["services"],
        "parameters": [_path_parameter("service", "crmIntelligence"), _path_parameter("path", "contacts")],
        "summary": "Call a service through the gateway",
        "security": [{"apiKey": []}, {"bearer": []}],
        "responses": {"default": {"description": "response of the service", "headers": _headers()}, **_errors()},
    }
    if method in ("post", "put", "patch"):
        operation["requestBody"] = {"content": {"*/*": {}}, "description": "passed to the service unchanged"}
    return operation


def _list_services() -> dict[str, Any]:
    example = {"services": [{"name": "crmIntelligence", "path": "/api/v1/crmIntelligence/", "enabled": True}]}
    return {
        "operationId": "services",
        "tags": ["services"],
        "summary": "List the services this caller may use",
        "security": [{"apiKey": []}, {"bearer": []}],
        "responses": {
            "200": {"description": "services by name", "content": {"application/json": {"example": example}}}
        },
    }


def _stream_events() -> dict[str, Any]:
    topics = {"name": "topics", "in": "query", "required": True, "schema": {"type": "string"}}
    return {
        "operationId": "events",
        "tags": ["events"],
        "summary": "Subscribe to circuit transitions, cache invalidations and published events, as server-sent events",
        "parameters": [topics | {"example": "service:crmIntelligence,tag:crm:contacts"}],
        "security": [{"apiKey": []}, {"bearer": []}],
        "responses": {
            "200": {"description": "a stream of events", "content": {"text/event-stream": {}}},
            **_errors("400", "401", "403", "429", "503"),
        },
    }


def _publish_event() -> dict[str, Any]:
    event = {"topic": "tag:crm:contacts", "type": "contact.changed", "data": {"id": 7}}
    return {
        "operationId": "publishEvent",
        "tags": ["events"],
        "summary": "Publish an event to the subscribers of its topic (requires scope events:publish)",
        "security": [{"apiKey": []}, {"bearer": []}],
        "requestBody": {"required": True, "content": {"application/json": {"example": event}}},
        "responses": {
            "202": _json_response("id of the event; ids increase", {"id": "1769860841250-0"}),
            **_errors("400", "401", "403", "413", "429", "503"),
        },
    }


def _check_health(path: str, summary: str, example: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": path.strip("/").replace("/", "_"),
        "tags": ["health"],
        "summary": summary,
        "security": [],
        "responses": {"200": _json_response("healthy", example), "503": {"description": "unhealthy: same format"}},
    }


def _json_response(description: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}


def _headers() -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in RESPONSE_HEADERS.items()}


def _errors(*only: str) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOutput"}}}
    return {
        status: {"description": codes, "content": problem}
        for status, codes in ERRORS.items()
        if not only or status in only
    }
