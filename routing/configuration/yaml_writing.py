"""Writes plain structures as YAML: blocks, with what has no structure inside it on one line."""

import io
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final, cast

import yaml
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from routing.configuration.yaml_events import RESOLVERS, TAG, plain_tag

WIDTH: Final = 110
_BREAKS: Final = frozenset("\n\x85\u2028\u2029")


class Dumper(yaml.SafeDumper):
    """Dumps values of configurations. `write_block` writes the same text faster."""

    yaml_implicit_resolvers = RESOLVERS

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Escape line breaks: YAML would normalise three of the four kinds."""
        style = '"' if _BREAKS.intersection(data) else None
        return self.represent_scalar(f"{TAG}str", data, style)


Dumper.add_representer(str, Dumper.represent_str)
Dumper.add_multi_representer(StrEnum, lambda dumper, word: dumper.represent_str(word.value))


def write_block(value: Any) -> str:
    """Any value as YAML in blocks."""
    writer = _Events()
    events = list(writer.of(value))
    # libyaml writes a large document ten times as fast, but text beyond ASCII, line breaks and empty keys otherwise.
    is_fast = yaml.__with_libyaml__ and writer.is_simple and isinstance(value, dict)
    emitter: type[Any] = yaml.CSafeDumper if is_fast else yaml.SafeDumper
    stream = io.StringIO()
    output = emitter(stream, width=WIDTH, allow_unicode=True)
    try:
        for event in (StreamStartEvent(), DocumentStartEvent(), *events, DocumentEndEvent(), StreamEndEvent()):
            output.emit(event)
    finally:
        output.dispose()
    return stream.getvalue()


class _Events:
    """The events of a value. `is_simple`: all of its texts so far are printable ASCII, and none is empty."""

    def __init__(self) -> None:
        self.is_simple = True
        self._dumper = Dumper(io.StringIO())
        self._scalars: dict[tuple[type, Any], ScalarEvent] = {}

    def of(self, value: Any) -> Iterator[Event]:
        if isinstance(value, dict):
            is_flow = all(map(self._is_plain, value)) and all(map(self._is_plain, value.values()))
            yield MappingStartEvent(None, f"{TAG}map", True, flow_style=is_flow)
            for key, item in value.items():
                yield from self.of(key)
                yield from self.of(item)
            yield MappingEndEvent()
        elif isinstance(value, list | tuple):
            yield SequenceStartEvent(None, f"{TAG}seq", True, flow_style=all(map(self._is_plain, value)))
            for item in value:
                yield from self.of(item)
            yield SequenceEndEvent()
        else:
            yield self._scalar(value)

    def _is_plain(self, value: Any) -> bool:
        return not isinstance(value, dict | list | tuple) and not self._scalar(value).style

    def _scalar(self, value: Any) -> ScalarEvent:
        key = type(value), value
        event = self._scalars.get(key)
        if event is None or isinstance(value, float):  # 0.0 equals -0.0
            node = cast(yaml.ScalarNode, self._dumper.represent_data(value))
            implicit = node.tag == plain_tag(node.value), node.tag == f"{TAG}str"
            event = self._scalars[key] = ScalarEvent(None, node.tag, implicit, node.value, style=node.style)
            text = node.value
            self.is_simple = self.is_simple and bool(text) and text.isascii() and text.isprintable()
        return event
