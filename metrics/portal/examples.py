"""Examples of request bodies: those of an OpenAPI document, or made of its schemas. Pure.

Documents may be faulty, refer to themselves and be of any size: what is made is bounded in depth and in length.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

MAX_EXAMPLE: Final = 4_000
"""The most characters of an example."""
MAX_DEPTH: Final = 5
MAX_VALUES: Final = 100
"""The most values of an example that is made of a schema."""
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
_STRINGS: Final = {
    "date": "2027-01-31",
    "date-time": "2027-01-31T12:00:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
}
_SIMPLE: Final[dict[str, object]] = {"integer": 0, "number": 0, "boolean": True, "null": None}

Follow = Callable[[object], Mapping[Any, Any]]
"""Returns a mapping, or what it refers to within the document."""


class ExampleBody(NamedTuple):
    """`media` is empty without a body that can be written as text."""

    media: str = ""
    text: str = ""


def example_body(request_body: Mapping[Any, Any], follow: Follow) -> ExampleBody:
    """The body in the first type of content that a person can write: JSON, a form or text."""
    listed = request_body.get("content")
    content: Mapping[Any, Any] = listed if isinstance(listed, Mapping) else {}
    types = [name for name in content if isinstance(name, str)]
    for name in sorted(types, key=lambda each: each.partition(";")[0].strip().lower() != JSON):
        write = _writer(name.partition(";")[0].strip().lower())
        if write is not None:
            value = _Maker(follow).of_content(follow(content[name]))
            text = "" if value is None else write(value)
            return ExampleBody(name[:100], text if len(text) <= MAX_EXAMPLE else "")
    return ExampleBody()


def _writer(media: str) -> Callable[[object], str] | None:
    if media == JSON or media.endswith("+json"):
        return lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    if media == FORM:
        return lambda value: urlencode(value, doseq=True) if isinstance(value, Mapping) else _plain(value)
    return _plain if media.startswith("text/") or media.endswith(("/xml", "+xml")) else None


def _plain(value: object) -> str:
    return value if isinstance(value, str) else ""


class _Maker:
    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self._left = MAX_VALUES
        self._within: list[Mapping[Any, Any]] = []

    def of_content(self, content: Mapping[Any, Any]) -> object:
        """The example of one type of content. None without one."""
        if content.get("example") is not None:
            return content["example"]
        examples = content.get("examples")
        named = next(iter(examples.values()), None) if isinstance(examples, Mapping) else None
        value = self._follow(named).get("value")
        return self._of_schema(content.get("schema"), MAX_DEPTH) if value is None else value

    def _of_schema(self, reference: object, depth: int) -> Any:
        schema = self._follow(reference)
        self._left -= 1
        if depth == 0 or self._left < 0 or not schema or any(schema is each for each in self._within):
            return None
        for stated in self._stated(schema):
            return stated
        for parts in (schema.get("oneOf"), schema.get("anyOf")):
            if isinstance(parts, list) and parts and "properties" not in schema:
                return self._of_schema(parts[0], depth - 1)
        self._within.append(schema)
        value = self._of_type(schema, depth)
        self._within.pop()
        return value

    def _of_type(self, schema: Mapping[Any, Any], depth: int) -> Any:
        kind, form = schema.get("type"), schema.get("format")
        if isinstance(kind, list):  # OpenAPI 3.1
            kind = next((each for each in kind if each != "null"), None)
        if kind == "array":
            item = self._of_schema(schema.get("items"), depth - 1)
            return [] if item is None else [item]
        if kind == "string":
            return _STRINGS.get(form, "string") if isinstance(form, str) else "string"
        if isinstance(kind, str) and kind in _SIMPLE:
            return _SIMPLE[kind]
        return self._object(schema, depth)

    def _stated(self, schema: Mapping[Any, Any]) -> Iterator[Any]:
        """What the schema itself gives as a value."""
        for name in ("example", "const", "default"):
            if schema.get(name) is not None:
                yield schema[name]
        for name in ("examples", "enum"):
            values = schema.get(name)
            if isinstance(values, list) and values:
                yield values[0]

    def _object(self, schema: Mapping[Any, Any], depth: int) -> dict[str, Any] | None:
        """With the properties of all that it is made of, except those that only responses have."""
        found: dict[str, Any] = {}
        parts = schema.get("allOf")
        for part in parts if isinstance(parts, list) else ():
            value = self._of_schema(part, depth - 1)
            if isinstance(value, Mapping):
                found |= value
        properties = schema.get("properties")
        for name, value in properties.items() if isinstance(properties, Mapping) else ():
            if self._left > 0 and self._follow(value).get("readOnly") is not True:
                made = self._of_schema(value, depth - 1)
                if made is not None:
                    found[str(name)] = made
        return found or None
