"""What can be called, by a service's OpenAPI document. Pure.

A document may come from anybody, and be faulty: malformed parts are left out, and texts are cut.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from metrics.portal.examples import JSON, ExampleBody, example_body

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_TEXT: Final = 300
MAX_PARAMETERS: Final = 30
MAX_REFERENCES: Final = 8
"""The longest chain of references that is followed."""
_KEY_SCHEME: Final = "gatewayKey"


class Parameter(NamedTuple):
    """`place` is `path`, `query` or `header`."""

    name: str
    place: str
    is_required: bool
    description: str = ""


class Operation(NamedTuple):
    """Something that can be called: `path` begins with a slash and may contain `{parameters}`. `body` is an example, in
    the type of content `media` where that is not JSON.
    """

    method: str
    path: str
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: str = ""
    media: str = ""

    @property
    def is_simple(self) -> bool:
        """Whether it can be called as it stands, and changes nothing."""
        needs = any(each.is_required for each in self.parameters)
        return self.method == "GET" and "{" not in self.path and "*" not in self.path and not needs

    @property
    def target(self) -> str:
        """The path with the query parameters that are required, for their values to be filled in."""
        query = "&".join(f"{each.name}=" for each in self.parameters if each.place == "query" and each.is_required)
        return f"{self.path}?{query}" if query else self.path

    @property
    def header_lines(self) -> str:
        """The header fields that are required, for their values to be filled in, and the type of the content."""
        lines = [f"{each.name}: " for each in self.parameters if each.place == "header" and each.is_required]
        return "\n".join([f"Content-Type: {self.media}", *lines] if self.media else lines)


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """The operations, in the document's order."""
    for path, value in _mapping(document.get("paths")).items():
        if not isinstance(path, str) or not path.startswith("/"):
            continue
        item = _path_item(document, value)
        shared = _list(item.get("parameters"))
        for method, operation in item.items():
            name = str(method).upper()
            if name in METHODS and isinstance(operation, Mapping):
                listed = [*shared, *_list(operation.get("parameters"))]
                summary = _text(operation.get("summary")) or _text(operation.get("description"))
                body = _body(document, operation.get("requestBody"))
                yield Operation(name, path, summary, tuple(_parameters(document, listed)), body.text, body.media)


def published(
    document: Mapping[str, Any], methods: Iterable[str], server: str, *, own_security: bool = False
) -> dict[str, Any]:
    """The document with one server, and the operations of these methods only; all if there are none.

    Its callers authenticate with a key of the gateway. The document's own security stays where `own_security` says that
    the service receives such credentials.
    """
    kept = {method.lower() for method in methods}
    left_out = {method.lower() for method in (*METHODS, "options", "trace", "query")} - kept if kept else set()
    left_out |= {"servers"} if own_security else {"servers", "security"}
    shown = {**document, "servers": [{"url": server}]}
    shown["paths"] = {
        path: _published_item(_path_item(document, item), left_out)
        for path, item in _mapping(document.get("paths")).items()
    }
    components = dict(_mapping(document.get("components")))
    if "pathItems" in components:  # each is in the paths that refer to it
        components["pathItems"] = {
            name: _published_item(_path_item(document, item), left_out)
            for name, item in _mapping(components["pathItems"]).items()
        }
    if not own_security:
        components["securitySchemes"] = {_KEY_SCHEME: {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
        shown["security"] = [{_KEY_SCHEME: []}]
    return {**shown, "components": components} if components else shown


def _published_item(item: Mapping[Any, Any], left_out: set[str]) -> dict[Any, Any]:
    return {name: _without(value, left_out) for name, value in item.items() if name not in left_out}


def _path_item(document: Mapping[str, Any], value: object) -> Mapping[Any, Any]:
    """A path's own operations, above those of what it refers to within the document."""
    item = _mapping(value)
    if not str(item.get("$ref", "")).startswith("#/"):
        return item
    return {**_resolved(document, item), **{name: own for name, own in item.items() if name != "$ref"}}


def _without(operation: Any, left_out: set[str]) -> Any:
    """An operation's own servers, and its security, are those behind the gateway."""
    if not isinstance(operation, Mapping):
        return operation
    return {name: value for name, value in operation.items() if name not in left_out}


def _parameters(document: Mapping[str, Any], listed: list[Any]) -> Iterator[Parameter]:
    for each in listed[:MAX_PARAMETERS]:
        found = _resolved(document, each)
        name, place = _text(found.get("name")), found.get("in")
        if name and place in ("path", "query", "header"):
            yield Parameter(name, str(place), found.get("required") is True, _text(found.get("description")))


def _body(document: Mapping[str, Any], value: object) -> ExampleBody:
    """An example of the body as text, and its type of content, which is left out if it is JSON."""
    body = example_body(_resolved(document, value), partial(_resolved, document))
    return ExampleBody("" if body.media == JSON else body.media, body.text)


def _resolved(document: Mapping[str, Any], value: object) -> Mapping[Any, Any]:
    """The value, or what it refers to within the document."""
    found = _mapping(value)
    for _ in range(MAX_REFERENCES):
        reference = found.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        here: Any = document
        for part in reference.removeprefix("#/").split("/"):
            here = _mapping(here).get(part.replace("~1", "/").replace("~0", "~"))
        found = _mapping(here)
    return found


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value.strip()[:MAX_TEXT] if isinstance(value, str) else ""
