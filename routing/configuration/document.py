"""Reads and writes the configuration file as YAML or JSON. Each fault is reported with its line."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import yaml

from routing.configuration.alerts import alert_name, alert_parsers, canonical_alert
from routing.configuration.consumers import CONSUMER_SECTIONS, canonical_item
from routing.configuration.decode import decode, route_parsers, service_parsers
from routing.configuration.faults import ConfigurationError, Fault, Path
from routing.configuration.issuers import issuer_parsers
from routing.configuration.key_order import in_order
from routing.configuration.placeholders import placeholders
from routing.configuration.section_parsers import SECTIONS
from routing.configuration.targets import target_parsers
from routing.configuration.url_secrets import url_secrets
from routing.configuration.values import SecretLookup
from routing.configuration.warnings import scope_warnings, warnings, webhook_warnings
from routing.configuration.webhooks import webhook_parsers
from routing.configuration.yaml_events import Built, build
from routing.configuration.yaml_writing import Dumper, write_block
from routing.router.table import Service

LIMIT: Final = 5_000_000
"""Largest file in bytes: bounds the time to parse it."""


_NOT_IN_YAML: Final = re.compile("[\t\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_HINTS: Final = (
    (re.compile(r"character '\\t'"), " (indent with spaces)"),
    (
        re.compile(r"got '[\[{:]'|character '[@`%|>]'|scanning an alias|mapping values are not allowed"),
        " (write values with { } [ ] : # & * @ % in quotes)",
    ),
)
"""What to do about faults that YAML's own messages do not explain."""


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

    def warnings(self, services: Iterable[Service], others: Iterable[Fault] = ()) -> list[Fault]:
        """What in its services and webhooks may not be what the author meant, and `others`, each with its line."""
        found = [
            *warnings(services),
            *webhook_warnings(self.structure.get("webhooks") or {}),
            *scope_warnings(services, self.structure.get("consumers") or {}),
            *url_secrets(self.structure),
            *placeholders(self.structure),
        ]
        return self.located([*found, *others])

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
    built = _build(text)
    built.faults.raise_if_any()
    return Document(built.structure, built.lines)


def parse_file(text: str | bytes) -> Document:
    """Like `parse`, for a whole configuration file: raises its faults of syntax together with those of its settings."""
    built = _build(text)
    document = Document(built.structure, built.lines)
    if built.faults.found:
        unread = {fault.path for fault in built.faults.found}
        others = [fault for fault in _setting_faults(document) if fault.path not in unread]
        raise ConfigurationError(sorted([*built.faults.found, *others], key=lambda fault: fault.line or 0))
    return document


def _setting_faults(document: Document) -> tuple[Fault, ...]:
    """The faults of settings that do not depend on secrets."""
    try:
        document.services(lambda _: "", is_part=True)
    except ConfigurationError as error:
        return error.faults
    return ()


def _build(text: str | bytes) -> Built:
    content = _decode_text(text)
    try:
        return build(content)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        problem += next((hint for form, hint in _HINTS if form.search(problem)), "")
        raise ConfigurationError([Fault((), f"not valid YAML or JSON: {problem}", line=line)]) from None


def _decode_text(text: str | bytes) -> str:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(raw) > LIMIT:
        raise ConfigurationError([Fault((), f"the file is larger than {LIMIT // 1_000_000} MB")])
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError([Fault((), "not UTF-8", line=raw.count(b"\n", 0, error.start) + 1)]) from None
    content = _without_folding(content)
    unprintable = yaml.reader.Reader.NON_PRINTABLE.search(content)
    if unprintable:
        line = content.count("\n", 0, unprintable.start()) + 1
        raise ConfigurationError([Fault((), "a control character that YAML does not allow", line=line)])
    return content


def _without_folding(content: str) -> str:
    """JSON as YAML reads it the same way: tabs between its parts become spaces, and what YAML refuses or takes for a
    line break, which JSON may have within strings only, becomes an escape.
    """
    if not content.lstrip().startswith("{") or _NOT_IN_YAML.search(content) is None:
        return content
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return content
    return _NOT_IN_YAML.sub(lambda form: " " if form[0] == "\t" else f"\\u{ord(form[0]):04x}", content)


def dump(structure: Any) -> str:
    """A document's canonical text: equal documents give equal texts, whatever their order of keys."""
    return dump_value(canonical(structure))


def dump_value(value: Any) -> str:
    """Any value as YAML in blocks."""
    return write_block(value)


def inline(value: Any) -> str:
    """One value as YAML on one line."""
    text = yaml.dump(
        plain(value), Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**9
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
    "status_page": False,
    "labels": {},
    "tls": {},
    "routes": [],
    "methods": [],
    "invalidates": [],
    "idempotency": False,
}
"""Values that are the same as a missing key."""
_SERVICE: Final = tuple(service_parsers(lambda _: None))
_TARGET: Final = tuple(target_parsers(lambda _: None))
_ROUTE: Final = tuple(route_parsers(lambda _: None))
_WEBHOOK: Final = tuple(webhook_parsers(lambda _: None))
_ISSUER: Final = tuple(issuer_parsers(lambda _: None))
_ALERT: Final = tuple(alert_parsers(lambda _: None))


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
    if alerts := structure.get("alerts"):
        result["alerts"] = sorted((canonical_alert(item, _ALERT) for item in alerts), key=alert_name)
    return result


def _webhook(settings: dict[str, Any]) -> dict[str, Any]:
    """False is the same as a missing key, unless it removes what the preset has."""
    ordered = _ordered(settings, _WEBHOOK)
    kept = ("enabled", *(("publish", "forward") if "preset" in ordered else ()))
    return {key: value for key, value in ordered.items() if value is not False or key in kept}


def _service(service: dict[str, Any]) -> dict[str, Any]:
    targets = [_ordered(target, _TARGET) for target in service.get("targets") or ()]
    targets.sort(key=lambda target: str(target["url"]))
    routes = [_ordered(route, _ROUTE) for route in service.get("routes") or ()]
    return _ordered({**service, "targets": targets, "routes": routes}, _SERVICE)


def _ordered(settings: dict[str, Any], order: Iterable[str]) -> dict[str, Any]:
    return {
        key: settings[key] if key in ("targets", "routes") else _section(key, settings[key])
        for key in in_order(settings, order)
        if settings[key] is not None and not _is_default(key, settings[key])
    }


def _is_default(key: str, value: Any) -> bool:
    return key in _DEFAULTS and bool(value == _DEFAULTS[key])


def _section(key: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return plain(value)
    return {name: plain(value[name]) for name in in_order(value, SECTIONS.get(key, ()))}


def plain(value: Any) -> Any:
    """Normalise a value: sorted keys, integral floats as int. A database may preserve neither."""
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
