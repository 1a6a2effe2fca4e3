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

    target_class = "metrics.access.KeyAuthentication"
    name = ["apiKey", "bearer"]  # noqa: RUF012 - drf-spectacular's own form

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:  # noqa: ARG002
        return [
            {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            {"type": "http", "scheme": "bearer", "description": "an API key, or for services a Firebase ID token"},
        ]


METHODS: Final = ("get", "head", "post", "put", "patch", "delete")


def add_gateway(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A hook of drf-spectacular's."""
    result["paths"] = {path: of for path, of in result["paths"].items() if not path.startswith("/api/v1")}
    result["paths"] = {path.rstrip("?").rstrip("/") or "/": of for path, of in result["paths"].items()}
    result["paths"]["/api/v1/{service}/{path}"] = {method: _operation(method) for method in METHODS}
    result["paths"]["/api/v1/"] = {"get": _index()}
    return result


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


def _headers() -> dict[str, Any]:
    return {name: {"description": told, "schema": {"type": "string"}} for name, told in ANSWERED.items()}


def _refusals() -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOutput"}}}
    return {status: {"description": codes, "content": problem} for status, codes in REFUSALS.items()}
