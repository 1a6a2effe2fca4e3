"""What the schema says beyond REST framework's views: the gateway's own path, which no view of Django's serves."""

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension

ANSWERED: Final = {
    "X-Request-ID": "the request's id",
    "X-Cache": "HIT, MISS, STALE, REVALIDATED or BYPASS",
    "Cache-Status": "the same in RFC 9211's words",
    "RateLimit": "what is left of the limit",
}
REFUSALS: Final = {
    "401": "unauthenticated",
    "403": "forbidden",
    "404": "unknown_service",
    "405": "method_not_allowed",
    "413": "body_too_large",
    "429": "rate_limited",
    "502": "bad_gateway",
    "503": "circuit_open, service_disabled or overloaded",
    "504": "upstream_timeout",
}


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The gateway's keys, in either of their places."""

    target_class = "metrics.api.access.KeyAuthentication"
    name = ["apiKey", "bearer"]  # noqa: RUF012 - drf-spectacular's own form

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:  # noqa: ARG002
        return [
            {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            {"type": "http", "scheme": "bearer", "description": "an API key, or for services a Firebase ID token"},
        ]


HEALTH: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "/health": ("That the process lives; touches nothing", {"status": "ok"}),
    "/health/ready": ("That it has its configuration and takes requests", {"status": "ok"}),
    "/health/deep": (
        "Database, Redis, channel layer and every service; remembered for 5 s",
        {"status": "ok", "checks": {"database": {"status": "ok", "ms": 0.41}}},
    ),
}
METHODS: Final = ("get", "head", "post", "put", "patch", "delete")


def add_gateway(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A hook of drf-spectacular's."""
    result["paths"] = {path: of for path, of in result["paths"].items() if not path.startswith("/api/v1")}
    result["paths"] = {path.rstrip("?").rstrip("/") or "/": of for path, of in result["paths"].items()}
    for operation in (operation for of in result["paths"].values() for operation in of.values()):
        _summarise(operation)
    result["paths"]["/api/v1/{service}/{path}"] = {method: _operation(method) for method in METHODS}
    result["paths"]["/api/v1/"] = {"get": _index()}
    result["paths"]["/events"] = {"get": _stream(), "post": _publication()}
    result["paths"] |= {path: {"get": _health(path, *said)} for path, said in HEALTH.items()}
    return result


def _summarise(operation: dict[str, Any]) -> None:
    """The first line of what a view says of itself is what lists show; the rest, if any, is for who opens it."""
    summary, _, more = operation.pop("description", "").partition("\n")
    operation["summary"] = summary.rstrip(".")
    if more.strip():
        operation["description"] = more.strip()


def _parameter(name: str, example: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": example}


def _operation(method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"service_{method}",
        "tags": ["services"],
        "parameters": [_parameter("service", "crmIntelligence"), _parameter("path", "contacts")],
        "summary": "A service's own answer, through the gateway's nine steps",
        "security": [{"apiKey": []}, {"bearer": []}],
        "responses": {"default": {"description": "what the service answers", "headers": _headers()}, **_refusals()},
    }
    if method in ("post", "put", "patch"):
        operation["requestBody"] = {"content": {"*/*": {}}, "description": "passed on as it comes"}
    return operation


def _index() -> dict[str, Any]:
    example = {"services": [{"name": "crmIntelligence", "path": "/api/v1/crmIntelligence/", "enabled": True}]}
    return {
        "operationId": "services",
        "tags": ["services"],
        "summary": "The services this caller may use",
        "security": [{"apiKey": []}, {"bearer": []}],
        "responses": {"200": {"description": "by name", "content": {"application/json": {"example": example}}}},
    }


def _stream() -> dict[str, Any]:
    topics = {"name": "topics", "in": "query", "required": True, "schema": {"type": "string"}}
    return {
        "operationId": "events",
        "tags": ["events"],
        "summary": "Circuit changes, invalidations and what backends publish, as server-sent events",
        "parameters": [topics | {"example": "service:crmIntelligence,tag:crm:contacts"}],
        "security": [{"apiKey": []}, {"bearer": []}],
        "responses": {
            "200": {"description": "events without an end", "content": {"text/event-stream": {}}},
            **_refusals("401", "403", "429"),
        },
    }


def _publication() -> dict[str, Any]:
    event = {"topic": "tag:crm:contacts", "type": "contact.changed", "data": {"id": 7}}
    return {
        "operationId": "publishEvent",
        "tags": ["events"],
        "summary": "Publish an event to everybody who follows its topic; asks for the scope events:publish",
        "security": [{"apiKey": []}, {"bearer": []}],
        "requestBody": {"required": True, "content": {"application/json": {"example": event}}},
        "responses": {
            "202": _answer("its id, which grows", {"id": "1769860841250-0"}),
            **_refusals("401", "403", "413", "429"),
        },
    }


def _health(path: str, summary: str, example: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": path.strip("/").replace("/", "_"),
        "tags": ["health"],
        "summary": summary,
        "security": [],
        "responses": {"200": _answer("well", example), "503": {"description": "not well: the same form"}},
    }


def _answer(told: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"description": told, "content": {"application/json": {"example": example}}}


def _headers() -> dict[str, Any]:
    return {name: {"description": told, "schema": {"type": "string"}} for name, told in ANSWERED.items()}


def _refusals(*only: str) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOutput"}}}
    return {
        status: {"description": codes, "content": problem}
        for status, codes in REFUSALS.items()
        if not only or status in only
    }
