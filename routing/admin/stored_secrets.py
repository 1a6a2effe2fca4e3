"""The secrets of a row's settings: shown as masks, and put back where masks are posted."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from routing.admin.setting_rows.base import RowSettings
from routing.configuration import literals
from routing.configuration.faults import ConfigurationError, Fault, UnresolvedSecret
from routing.configuration.headers import reference
from routing.database import masking


class StoredSecrets:
    """The secrets of one row, as they are when this is created."""

    def __init__(self, row: RowSettings) -> None:
        self._row = row
        self._owner = ""
        self._known: dict[str, str] = {}
        self._masked: dict[str, Any] = {}
        self._shown: set[str] = set()
        stored = {name: row.stored(name) for name in row.secret_forms if row.stored(name)}
        if row.row.pk is None or not stored:
            return
        self._owner = row.owner()
        masked = masking.mask(row.document(stored, self._owner))
        self._known, self._masked = masked.secrets, row.settings_in(masked.structure, self._owner)
        self._shown = {str(field.value) for field in literals.fields(masked.structure)}

    def masked(self, name: str) -> Any:
        """The row's setting, with masks in place of secrets."""
        return self._masked.get(name, self._row.stored(name))

    def unmask(self, name: str, value: Any) -> tuple[Any, list[Fault]]:
        """The setting with the secrets that its masks stand for, and faults, with paths relative to the settings: new
        secrets in plain text, masks that stand for nothing, and references to what may not be used.
        """
        forms = self._row.secret_forms.get(name)
        if forms is None or not isinstance(value, forms):
            return value, []  # a fault of another kind, which the model reports
        document = self._row.document({name: value}, self._owner)
        faults = [fault.without_prefix(2) for fault in literals.literal_secrets(document)]
        for field in literals.fields(document):
            if str(field.value) not in self._shown:
                faults += [Fault(field.path[2:], message) for message in refused(field.value)]
        if faults:
            return value, faults
        try:
            return self._row.settings_in(literals.unmask(document, self._known), self._owner)[name], []
        except ConfigurationError as error:
            return value, [fault.without_prefix(2) for fault in error.faults]

    def remasked(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings of the row with masks in place of secrets."""
        if not self._row.secret_forms:
            return settings
        masked = masking.mask(self._row.document(settings, self._owner)).structure
        return self._row.settings_in(masked, self._owner)


def refused(value: object) -> list[str]:
    """Why no service may use the variable or the file. One that is missing may come later."""
    found = reference(value)
    if found is None:
        return []
    try:
        settings.CONFIG.secret(found.name)
    except UnresolvedSecret:
        return []
    except ValueError as fault:
        return [str(fault)]
    return []


def check_reference(name: str, value: object) -> None:
    """Raise `refused` as a ValidationError."""
    for message in refused(value):
        raise ValidationError(f"{name}: {message}")
