"""All settings of a row as YAML: the second tab of its form."""

from typing import Any, Final

import msgspec
from django import forms
from django.utils.translation import gettext_lazy as _

from routing.admin.setting_rows.base import RowSettings
from routing.admin.stored_secrets import StoredSecrets
from routing.configuration.document import Document, dump_value, parse
from routing.configuration.faults import ConfigurationError, Fault

MAX_TEXT: Final = 60_000
"""Characters: YAML takes a second of processor time for some 50 kB."""


class YamlField(forms.CharField):
    """Its widget shows line numbers, and faults beside the lines."""

    def __init__(self) -> None:
        attributes = {
            "rows": 24,
            "spellcheck": "false",
            "wrap": "off",
            "data-yaml": "",
            "aria-label": _("Settings as YAML"),
        }
        super().__init__(
            required=False, label=_("Settings"), strip=False, max_length=MAX_TEXT, widget=forms.Textarea(attributes)
        )


class YamlText:
    """The text of one row's settings."""

    def __init__(self, row: RowSettings, secrets: StoredSecrets) -> None:
        self._row, self._secrets = row, secrets
        self._document = Document({}, {})

    def shown(self) -> str:
        """In the configuration file's canonical form, without what has a place of its own on the page."""
        if self._row.row.pk is None:
            return ""
        masked = {name: self._secrets.masked(name) for name in self._row.secret_forms}
        settings = self._row.settings() | {name: value for name, value in masked.items() if value not in (None, "")}
        return self.text_of(settings)

    def text_of(self, settings: dict[str, Any]) -> str:
        """Such settings of the row as YAML, in canonical form."""
        shown = self._row.canonical(settings)
        return dump_value(shown) if shown else ""

    def read(self, text: str) -> list[Fault]:
        """Set the row's settings, unless there are faults."""
        try:
            self._document = parse(text)
        except ConfigurationError as error:
            return list(error.faults)
        settings = {} if self._document.structure is None else self._document.structure
        if not isinstance(settings, dict):
            return [Fault((), "must be a mapping of names to values")]
        faults = [Fault((name,), text) for name, text in self._row.elsewhere.items() if name in settings]
        settings = dict(settings)
        for name in self._row.secret_forms:
            if settings.get(name) is not None:
                settings[name], found = self._secrets.unmask(name, settings[name])
                faults += found
        faults = faults or self._row.faults(settings)
        if not faults:
            self._row.replace(settings)
        return faults

    def located(self, fault: Fault) -> Fault:
        """The fault with the line of the text that it is about."""
        return fault if fault.line else self._document.located([fault])[0]


def located_line(fault: Fault) -> dict[str, Any]:
    """A fault as the page's script reads it."""
    return {"line": fault.line or 1, "message": str(msgspec.structs.replace(fault, line=None))}
