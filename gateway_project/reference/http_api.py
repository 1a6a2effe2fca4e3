"""The page of the HTTP interface, from the OpenAPI document that the gateway serves."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from drf_spectacular.generators import SchemaGenerator

from gateway_project.reference.markdown import code, page, table, text

Json = Mapping[str, Any]

_INTRODUCTION: Final = """\
Every operation of the gateway's own HTTP interface. The gateway serves the same as an OpenAPI document at
`/api/schema`, and as a page to try it at `/api/docs`. Programs need an [API key](../keys.md), in `X-API-Key` or as a
bearer token: with `metrics:read` to read and `metrics:write` to operate, `config:read` and `config:write` for the
configuration, and `events:publish` to publish events. People are logged in as staff. [Errors](errors.md) are problem
documents."""
_GROUPS: Final = {
    "services": "Services",
    "events": "Events",
    "health": "Health",
    "metrics": "Metrics and operations",
    "configuration": "Configuration",
}
"""Titles of the tags of operations; another tag is its own title."""
_METHODS: Final = ("get", "head", "post", "put", "patch", "delete")


def http_api_page() -> str:
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call] # the library has no types
    groups: dict[str, list[str]] = {}
    for path, operations in schema["paths"].items():
        for methods, operation in _alike(operations):
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(_GROUPS.get(tag, tag.capitalize()), []).extend(_operation(methods, path, operation))
    order = list(_GROUPS.values())
    ordered = sorted(groups, key=lambda name: order.index(name) if name in order else len(order))
    return page("HTTP API", _INTRODUCTION, *(part for name in ordered for part in (f"## {name}", *groups[name])))


def _alike(operations: Json) -> Iterator[tuple[str, Json]]:
    """The operations of a path; those of one description are one, with all their methods."""
    found: dict[tuple[str, str], list[str]] = {}
    for method in filter(operations.__contains__, _METHODS):
        described = operations[method].get("summary", ""), operations[method].get("description", "")
        found.setdefault(described, []).append(method)
    for methods in found.values():
        yield ", ".join(methods).upper(), operations[methods[-1]]


def _operation(methods: str, path: str, operation: Json) -> Iterator[str]:
    yield f"### {code(f'{methods} {path}')}"
    yield text(_sentence(operation.get("summary", "")))
    yield text(operation.get("description", ""))
    parameters = [_parameter(parameter) for parameter in operation.get("parameters", ())]
    if parameters:
        yield table(("parameter", "in", "type", ""), parameters)
    bodies = operation.get("requestBody", {}).get("content", {})
    if bodies:
        yield f"Content: {', '.join(map(code, bodies))}."
    yield f"Responses: {', '.join(map(code, operation['responses']))}."


def _parameter(parameter: Json) -> tuple[str, str, str, str]:
    name = code(parameter["name"]) + (" (required)" if parameter.get("required") else "")
    return name, parameter["in"], text(_type(parameter.get("schema", {}))), text(parameter.get("description", ""))


def _type(schema: Json) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    limits = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    default = f"; default {schema['default']}" if "default" in schema else ""
    return " ".join(filter(None, [str(schema.get("type", "")), *limits])) + default


def _sentence(content: str) -> str:
    return f"{content.removesuffix('.')}." if content else ""
