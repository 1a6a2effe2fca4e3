"""All settings of a service or a route as YAML: the second tab of their forms."""

from copy import copy
from typing import Any, Final

import msgspec
from django import forms

from routing.admin.setting_fields.plain import EMPTY_VALUES
from routing.admin.stored_secrets import SECRET_FIELDS, StoredSecrets
from routing.configuration.decode import VERSION, decode_route, decode_service
from routing.configuration.document import Document, canonical, dump_value, parse
from routing.configuration.faults import ConfigurationError, Fault
from routing.models import ANY_SECRET, SETTINGS, Route, Service

MAX_TEXT: Final = 60_000
"""Characters: YAML takes a second of processor time for some 50 kB."""
ELSEWHERE: Final = {"targets": "targets have a table of their own below", "routes": "routes have a list of their own"}
_OWN: Final[dict[type[Any], dict[str, Any]]] = {
    Service: {
        "preset": "",
        "hosts": [],
        "paths": None,
        "thresholds": None,
        "slo": None,
        "status_page": None,
        "labels": None,
    },
    Route: {"path": "", "methods": [], "invalidates": [], "idempotency": False},
}
"""The columns that only services or routes have, and their defaults."""
_ANY: Final = "any"


class YamlField(forms.CharField):
    """Its widget shows line numbers, and faults beside the lines."""

    def __init__(self) -> None:
        attributes = {
            "rows": 24,
            "spellcheck": "false",
            "wrap": "off",
            "data-yaml": "",
            "aria-label": "Settings as YAML",
        }
        super().__init__(
            required=False, label="Settings", strip=False, max_length=MAX_TEXT, widget=forms.Textarea(attributes)
        )


class YamlText:
    """The text of one row's settings."""

    def __init__(self, row: Service | Route, secrets: StoredSecrets) -> None:
        self._row, self._secrets = row, secrets
        self._document = Document({}, {})

    def shown(self) -> str:
        """In the configuration file's canonical form, without what has a place of its own on the page."""
        if self._row.pk is None:
            return ""
        masked = {name: self._secrets.masked(name) for name in SECRET_FIELDS}
        settings = self._row.to_document() | {name: value for name, value in masked.items() if value not in (None, "")}
        return text_of(self._row, settings)

    def read(self, text: str) -> list[Fault]:
        """Set the row's settings, unless there are faults."""
        try:
            self._document = parse(text)
        except ConfigurationError as error:
            return list(error.faults)
        settings = {} if self._document.structure is None else self._document.structure
        faults = self._faults(settings)
        if faults:
            return faults
        unmasked = dict(settings)
        for name in SECRET_FIELDS:
            unmasked[name], found = self._secrets.unmask(name, settings.get(name))
            faults += found
        if faults:
            return faults
        for name, default in {**_OWN[type(self._row)], "enabled": True, **dict.fromkeys(SETTINGS)}.items():
            value = unmasked.get(name)
            setattr(self._row, name, copy(EMPTY_VALUES.get(name, default)) if value is None else value)
        return []

    def located(self, fault: Fault) -> Fault:
        """With the line of the text that it is about."""
        return fault if fault.line else self._document.located([fault])[0]

    def _faults(self, settings: Any) -> list[Fault]:
        """Of the settings alone, before anything is read from them."""
        if not isinstance(settings, dict):
            return [Fault((), "must be a mapping of names to values")]
        found = [Fault((name,), text) for name, text in ELSEWHERE.items() if name in settings]
        if found:
            return found
        try:
            if isinstance(self._row, Route):
                decode_route(settings, {}, ANY_SECRET)
            else:
                decode_service(_ANY, {**settings, "targets": [{"url": "http://any"}]}, ANY_SECRET)
        except ConfigurationError as error:
            return list(error.faults)
        return []


def text_of(row: Service | Route, settings: dict[str, Any]) -> str:
    """The settings of such a row as YAML, in canonical form."""
    is_route = isinstance(row, Route)
    item: dict[str, Any] = {"routes": [settings]} if is_route else settings
    service = canonical({"version": VERSION, "services": {_ANY: item}})["services"][_ANY]
    shown = service["routes"][0] if is_route else service
    return dump_value(shown) if shown else ""


def located_line(fault: Fault) -> dict[str, Any]:
    """A fault as the page's script reads it."""
    return {"line": fault.line or 1, "message": str(msgspec.structs.replace(fault, line=None))}
