"""What can be called, by a service's OpenAPI document. Pure.

A document may come from anybody, and be faulty: malformed parts are left out, and texts are cut.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_TEXT: Final = 300
MAX_PARAMETERS: Final = 30
MAX_EXAMPLE: Final = 4_000
"""The most characters of a body's example."""


class Parameter(NamedTuple):
    """`place` is `path`, `query` or `header`."""

    name: str
    place: str
    is_required: bool
    description: str = ""


class Operation(NamedTuple):
    """Something that can be called: `path` begins with a slash and may contain `{parameters}`. `body` is an example."""

    method: str
    path: str
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: str = ""

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


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """The operations, in the document's order."""
    for path, item in _mapping(document.get("paths")).items():
        if not isinstance(path, str) or not path.startswith("/"):
            continue
        shared = _list(_mapping(item).get("parameters"))
        for method, operation in _mapping(item).items():
            name = str(method).upper()
            if name in METHODS and isinstance(operation, Mapping):
                listed = [*shared, *_list(operation.get("parameters"))]
                summary = _text(operation.get("summary")) or _text(operation.get("description"))
                body = _example(document, operation.get("requestBody"))
                yield Operation(name, path, summary, tuple(_parameters(document, listed)), body)


def published(document: Mapping[str, Any], methods: Iterable[str], server: str) -> dict[str, Any]:
    """The document with one server, and the operations of these methods only; all if there are none."""
    kept = {method.lower() for method in methods}
    left_out = {method.lower() for method in (*METHODS, "options", "trace")} - kept if kept else set()
    paths = {
        path: {
            name: _without_servers(value)
            for name, value in _mapping(item).items()
            if name not in left_out and name != "servers"
        }
        for path, item in _mapping(document.get("paths")).items()
    }
    return {**document, "servers": [{"url": server}], "paths": paths}


def _without_servers(operation: Any) -> Any:
    """An operation's own servers are those behind the gateway."""
    if not isinstance(operation, Mapping):
        return operation
    return {name: value for name, value in operation.items() if name != "servers"}


def _parameters(document: Mapping[str, Any], listed: list[Any]) -> Iterator[Parameter]:
    for each in listed[:MAX_PARAMETERS]:
        found = _resolved(document, each)
        name, place = _text(found.get("name")), found.get("in")
        if name and place in ("path", "query", "header"):
            yield Parameter(name, str(place), found.get("required") is True, _text(found.get("description")))


def _example(document: Mapping[str, Any], value: object) -> str:
    """The example of a JSON body, if there is one."""
    content = _mapping(_resolved(document, value).get("content"))
    media = _mapping(content.get("application/json"))
    schema = _resolved(document, media.get("schema"))
    named = next(iter(_mapping(media.get("examples")).values()), None)
    for example in (media.get("example"), _resolved(document, named).get("value"), schema.get("example")):
        if example is not None:
            text = json.dumps(example, indent=2, ensure_ascii=False)
            return text if len(text) <= MAX_EXAMPLE else ""
    return ""


def _resolved(document: Mapping[str, Any], value: object) -> Mapping[Any, Any]:
    """The value, or what it refers to within the document: one step, so that no circle is followed."""
    found = _mapping(value)
    reference = found.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return found
    here: Any = document
    for part in reference.removeprefix("#/").split("/"):
        here = _mapping(here).get(part.replace("~1", "/").replace("~0", "~"))
    return _mapping(here)


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value.strip()[:MAX_TEXT] if isinstance(value, str) else ""
