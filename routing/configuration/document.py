"""Reads and writes the configuration file as YAML or JSON. Each fault is reported with its line."""

import json
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec
import yaml

from routing.configuration.consumers import CONSUMER_SECTIONS, canonical_item
from routing.configuration.decode import TARGET, decode, route_parsers, service_parsers
from routing.configuration.faults import ConfigurationError, Fault, Faults, Path
from routing.configuration.issuers import issuer_parsers
from routing.configuration.section_parsers import SECTIONS
from routing.configuration.values import SecretLookup, display
from routing.configuration.warnings import warnings, webhook_warnings
from routing.configuration.webhooks import webhook_parsers
from routing.router.table import Service

LIMIT: Final = 5_000_000
"""Largest file in bytes: bounds the time to parse it."""
DEPTH: Final = 40
"""Deepest nesting of structures."""

_TAG: Final = "tag:yaml.org,2002:"
_PLAIN: Final = frozenset(f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str"))
_UNSUPPORTED: Final = frozenset(f"{_TAG}{name}" for name in ("timestamp", "merge", "value"))
"""Types that YAML 1.1 gives to dates, `<<` and `=`; here they are strings, as in JSON."""
_BREAKS: Final = frozenset("\n\x85\u2028\u2029")
_RESOLVERS: Final = {
    first: [(tag, form) for tag, form in pairs if tag not in _UNSUPPORTED]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Loader(yaml.SafeLoader):
    """YAML as a tree: without anchors and aliases, which can expand without bound, and with limited nesting."""

    yaml_implicit_resolvers = _RESOLVERS
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(None, None, "anchors and aliases are not accepted", event.start_mark)
        if self.depth > DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {DEPTH}", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _RESOLVERS

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Escape line breaks: YAML would normalise three of the four kinds."""
        style = '"' if _BREAKS.intersection(data) else None
        return self.represent_scalar(f"{_TAG}str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)
_Dumper.add_multi_representer(StrEnum, lambda dumper, word: dumper.represent_str(word.value))


def _resolve_exponents() -> None:
    """Make `1e5` a number as in JSON, in both the loader and the dumper."""
    form = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?[eE][-+]?\d+")
    for first in "-0123456789":
        _RESOLVERS.setdefault(first, []).insert(0, (f"{_TAG}float", form))


_resolve_exponents()


class Document(msgspec.Struct, frozen=True):
    """A parsed file: its structure, and the line on which each part begins."""

    structure: Any
    lines: dict[Path, int]

    def services(self, secret: SecretLookup, *, is_part: bool = False) -> tuple[Service, ...]:
        """Decode the services, as `decode`. Raises ConfigurationError with all faults, each with its line."""
        try:
            return decode(self.structure, secret, is_part=is_part)
        except ConfigurationError as error:
            raise ConfigurationError(self.located(error.faults)) from None

    def warnings(self, services: Iterable[Service]) -> list[Fault]:
        """What in its services and webhooks may not be what the author meant, each with its line."""
        return self.located([*warnings(services), *webhook_warnings(self.structure.get("webhooks") or {})])

    def located(self, faults: Iterable[Fault]) -> list[Fault]:
        """The faults with their lines, in the order of these."""
        return sorted(map(self._with_line, faults), key=lambda fault: fault.line or 0)

    def _with_line(self, fault: Fault) -> Fault:
        path: Path = fault.path if fault.key is None else (*fault.path, fault.key)
        while path and path not in self.lines:
            path = path[:-1]
        return msgspec.structs.replace(fault, line=self.lines.get(path, 1))


def parse(text: str | bytes) -> Document:
    """Parse YAML or JSON. Raises ConfigurationError if it is neither, or uses YAML features that JSON lacks."""
    content = _decode_text(text)
    loader = _Loader(_without_tabs(content))
    try:
        node = loader.get_single_node()
        constructor = _Constructor(loader)
        structure = None if node is None else constructor.value(node, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigurationError([Fault((), f"not valid YAML or JSON: {problem}", line=line)]) from None
    finally:
        loader.dispose()
    constructor.faults.raise_if_any()
    return Document(structure, constructor.lines)


def _decode_text(text: str | bytes) -> str:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(raw) > LIMIT:
        raise ConfigurationError([Fault((), f"the file is larger than {LIMIT // 1_000_000} MB")])
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError([Fault((), "not UTF-8", line=raw.count(b"\n", 0, error.start) + 1)]) from None
    unprintable = yaml.reader.Reader.NON_PRINTABLE.search(content)
    if unprintable:
        line = content.count("\n", 0, unprintable.start()) + 1
        raise ConfigurationError([Fault((), "a control character that YAML does not allow", line=line)])
    return content


def _without_tabs(content: str) -> str:
    """Replace tabs in JSON, which YAML does not allow as indentation. JSON strings contain no raw tabs."""
    if "\t" not in content or not content.lstrip().startswith("{"):
        return content
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return content
    return content.replace("\t", " ")


class _Constructor:
    """Builds plain structures from YAML nodes and records their lines."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self.lines: dict[Path, int] = {}
        self.faults = Faults()

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN:
            return self._scalar(node, path)
        return self._fault(node, path, f"the tag {display(node.tag.replace(_TAG, '!!'))} is not accepted")

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(key_node, path, "a key must be a string")
                continue
            # Keys are strings as written: `on` and `123` are names here, not a boolean and a number.
            key = self._text(key_node, path)
            if key in result:
                self._fault(key_node, path, f"duplicate key {display(key)}")
            self.lines[*path, key] = key_node.start_mark.line + 1
            result[key] = self.value(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        if node.tag == f"{_TAG}str" or ":" in node.value:  # 1:30 is a string in JSON, and 90 in YAML 1.1
            return self._text(node, path)
        try:
            return self._loader.construct_object(node)
        except (ValueError, KeyError, IndexError, OverflowError):
            return self._fault(node, path, f"{display(node.value)} does not match its tag")

    def _text(self, node: yaml.ScalarNode, path: Path) -> str:
        """Join surrogate pairs: JSON writes a character beyond U+FFFF as two escapes, which YAML does not combine."""
        try:
            return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._fault(node, path, "an unpaired surrogate")
            return ""

    def _fault(self, node: yaml.Node, path: Path, message: str) -> None:
        self.faults.found.append(Fault(path, message, line=node.start_mark.line + 1))


def dump(structure: Any) -> str:
    """A document's canonical text: equal documents give equal texts, whatever their order of keys."""
    return dump_value(canonical(structure))


def dump_value(value: Any) -> str:
    """Any value as YAML in blocks."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def inline(value: Any) -> str:
    """One value as YAML on one line."""
    text = yaml.dump(
        plain(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**9
    )
    return text.removesuffix("...\n").strip()


_DEFAULTS: Final[dict[str, Any]] = {
    "preset": "",
    "targets": [],
    "enabled": True,
    "weight": 1,
    "canary": 0,
    "always_up": False,
    "hosts": [],
    "paths": {},
    "thresholds": {},
    "routes": [],
    "methods": [],
    "invalidates": [],
    "idempotency": False,
}
"""Values that are the same as a missing key."""
_SERVICE: Final = tuple(service_parsers(lambda _: None))
_ROUTE: Final = tuple(route_parsers(lambda _: None))
_WEBHOOK: Final = tuple(webhook_parsers(lambda _: None))
_ISSUER: Final = tuple(issuer_parsers(lambda _: None))


def canonical(structure: Any) -> dict[str, Any]:
    """A valid document in canonical form: keys in a fixed order, services by name, targets by url, no defaults."""
    services, webhooks = structure.get("services") or {}, structure.get("webhooks") or {}
    result = {
        "version": structure["version"],
        "services": {name: _service(services[name]) for name in sorted(services)},
    }
    if webhooks:
        result["webhooks"] = {name: _webhook(webhooks[name]) for name in sorted(webhooks)}
    for section in CONSUMER_SECTIONS:
        if structure.get(section):
            items = structure[section]
            result[section] = {name: canonical_item(section, items[name] or {}) for name in sorted(items)}
    if issuers := structure.get("issuers"):
        ordered = (_ordered(item, _ISSUER) for item in issuers)
        result["issuers"] = sorted(ordered, key=lambda item: str(item["issuer"]))
    return result


def _webhook(settings: dict[str, Any]) -> dict[str, Any]:
    ordered = _ordered(settings, _WEBHOOK)
    return {key: value for key, value in ordered.items() if value is not False or key == "enabled"}


def _service(service: dict[str, Any]) -> dict[str, Any]:
    targets = [_ordered(target, TARGET) for target in service.get("targets") or ()]
    targets.sort(key=lambda target: str(target["url"]))
    routes = [_ordered(route, _ROUTE) for route in service.get("routes") or ()]
    return _ordered({**service, "targets": targets, "routes": routes}, _SERVICE)


def _ordered(settings: dict[str, Any], order: Iterable[str]) -> dict[str, Any]:
    return {
        key: settings[key] if key in ("targets", "routes") else _section(key, settings[key])
        for key in order
        if settings.get(key) is not None and not _is_default(key, settings[key])
    }


def _is_default(key: str, value: Any) -> bool:
    return key in _DEFAULTS and bool(value == _DEFAULTS[key])


def _section(key: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return plain(value)
    return {name: plain(value[name]) for name in SECTIONS.get(key, sorted(value)) if name in value}


def plain(value: Any) -> Any:
    """Normalise a value: sorted keys, integral floats as int. A database may preserve neither."""
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
