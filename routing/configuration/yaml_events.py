"""Builds plain structures from the events of a YAML parser, and records the line on which each part begins.

YAML as a tree of JSON's types: without anchors and aliases, which can expand without bound, and with limited nesting.
libyaml parses ten times as fast as PyYAML alone, and is part of its wheels.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
import yaml
from yaml.events import (
    AliasEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from routing.configuration.faults import Fault, Faults, Path
from routing.configuration.values import display

DEPTH: Final = 40
"""Deepest nesting of structures."""
TAG: Final = "tag:yaml.org,2002:"

_STRING: Final = f"{TAG}str"
_INTEGER: Final = f"{TAG}int"
_OCTAL: Final = re.compile(r"[-+]?0[0-9_]{1,40}")
_MAPPINGS: Final = frozenset({None, "!", f"{TAG}map"})
_SEQUENCES: Final = frozenset({None, "!", f"{TAG}seq"})
_PLAIN: Final = frozenset(f"{TAG}{name}" for name in ("null", "bool", "int", "float", "str"))
_UNSUPPORTED: Final = frozenset(f"{TAG}{name}" for name in ("timestamp", "merge", "value"))
"""Types that YAML 1.1 gives to dates, `<<` and `=`; here they are strings, as in JSON."""
RESOLVERS: Final = {
    first: [(tag, form) for tag, form in pairs if tag not in _UNSUPPORTED]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
"""The types of plain scalars, by their first character."""


def _resolve_exponents() -> None:
    """Make `1e5` a number as in JSON, when it is read and when it is written."""
    form = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?[eE][-+]?\d+")
    for first in "-0123456789":
        RESOLVERS.setdefault(first, []).insert(0, (f"{TAG}float", form))


_resolve_exponents()


class Built(msgspec.Struct, frozen=True):
    structure: Any
    lines: dict[Path, int]
    faults: Faults


def build(content: str) -> Built:
    """The only document of a YAML stream. Raises yaml.YAMLError."""
    if yaml.__with_libyaml__:
        try:
            return _build(content, yaml.CSafeLoader)
        except yaml.composer.ComposerError:
            raise  # by the builder below, with either parser
        except yaml.YAMLError:
            pass  # PyYAML's own messages are the clearer ones, and the same everywhere
    return _build(content, yaml.SafeLoader)


def _build(content: str, parser: Callable[[str], Any]) -> Built:
    source = parser(content)
    try:
        builder = _Builder(source.get_event)
        structure = builder.document()
        return Built(structure, builder.lines, builder.faults)
    finally:
        source.dispose()


class _Builder:
    """`next_event` returns the parser's events, one after another."""

    def __init__(self, next_event: Callable[[], Event]) -> None:
        self._next = next_event
        self._constructor = yaml.constructor.SafeConstructor()
        self._scalars: dict[tuple[str, str], Any] = {}
        self.lines: dict[Path, int] = {}
        self.faults = Faults()

    def document(self) -> Any:
        self._next()  # the start of the stream
        event = self._next()
        if isinstance(event, StreamEndEvent):
            return None
        structure = self._value(self._next(), (), 0)
        self._next()  # the end of the document
        event = self._next()
        if not isinstance(event, StreamEndEvent):
            raise yaml.composer.ComposerError(
                "expected a single document in the stream", None, "but found another document", _mark(event)
            )
        return structure

    def _value(self, event: Event, path: Path, depth: int) -> Any:
        self._check(event, depth)
        self.lines.setdefault(path, _line(event))
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, MappingStartEvent) and event.tag in _MAPPINGS:
            return self._mapping(path, depth + 1)
        if isinstance(event, SequenceStartEvent) and event.tag in _SEQUENCES:
            return self._sequence(path, depth + 1)
        self._skip(event, depth)
        return self._wrong_tag(event, str(getattr(event, "tag", "")), path)

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            self._check(event, depth)
            if not isinstance(event, ScalarEvent):
                self._fault(event, path, "a key must be a string")
                self._skip(event, depth)
                self._skip(self._next(), depth)
                continue
            # Keys are strings as written: `on` and `123` are names here, not a boolean and a number.
            key = self._text(event, path)
            if key in result:
                self._fault(event, path, f"duplicate key {display(key)}")
            place = (*path, key)
            self.lines[place] = _line(event)
            result[key] = self._value(self._next(), place, depth)
        return result

    def _sequence(self, path: Path, depth: int) -> list[Any]:
        result: list[Any] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            result.append(self._value(event, (*path, len(result)), depth))
        return result

    def _skip(self, event: Event, depth: int) -> None:
        """Read on to the end of what `event` begins."""
        self._check(event, depth)
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            while not isinstance(inner := self._next(), MappingEndEvent | SequenceEndEvent):
                self._skip(inner, depth + 1)

    def _check(self, event: Event, depth: int) -> None:
        """Raises ComposerError for an alias or an anchor, and for what is nested too deeply."""
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor is not None):
            message = "anchors and aliases are not accepted"
        elif depth > DEPTH:
            message = f"nested deeper than {DEPTH}"
        else:
            return
        raise yaml.composer.ComposerError(None, None, message, _mark(event))

    def _scalar(self, event: ScalarEvent, path: Path) -> Any:
        tag = _tag(event)
        if tag == _STRING or (":" in event.value and tag in _PLAIN):  # 1:30 is a string in JSON, and 90 in YAML 1.1
            return self._text(event, path)
        if tag not in _PLAIN:
            return self._wrong_tag(event, tag, path)
        if _OCTAL.fullmatch(event.value) and tag == _INTEGER:
            message = f"{event.value} is octal in YAML 1.1 and decimal in YAML 1.2: write it without the leading zero"
            return self._fault(event, path, f"{message}, or in quotes")
        form = tag, event.value
        try:
            if form not in self._scalars:
                self._scalars[form] = self._constructor.construct_object(yaml.ScalarNode(tag, event.value))
            return self._scalars[form]
        except (ValueError, KeyError, IndexError, OverflowError):
            return self._fault(event, path, f"{display(event.value)} does not match its tag")

    def _text(self, event: ScalarEvent, path: Path) -> str:
        """Join surrogate pairs: JSON writes a character beyond U+FFFF as two escapes, which YAML does not combine.

        PostgreSQL stores no null characters.
        """
        if "\0" in event.value:
            self._fault(event, path, "a null character")
            return ""
        if event.value.isascii():
            return str(event.value)
        try:
            return str(event.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._fault(event, path, "an unpaired surrogate")
            return ""

    def _wrong_tag(self, event: Event, tag: str, path: Path) -> None:
        self._fault(event, path, f"the tag {display(tag.replace(TAG, '!!'))} is not accepted")

    def _fault(self, event: Event, path: Path, message: str) -> None:
        self.faults.found.append(Fault(path, message, line=_line(event)))


def _mark(event: Event) -> Any:
    """Where it begins, the same for each parser: they have marks of their own."""
    own: Any = event.start_mark
    return yaml.Mark("<unicode string>", own.index, own.line, own.column, None, 0)


def _line(event: Event) -> int:
    own: Any = event.start_mark
    return int(own.line) + 1


def plain_tag(text: str) -> str:
    """The type of a scalar that is written without quotes."""
    for tag, form in RESOLVERS.get(text[:1], ()):
        if form.match(text):
            return str(tag)
    return _STRING


def _tag(event: ScalarEvent) -> str:
    """The tag that is written, or that of a plain scalar's form."""
    if event.tag is not None and event.tag != "!":
        return str(event.tag)
    return plain_tag(event.value) if event.implicit[0] else _STRING
