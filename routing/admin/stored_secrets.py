"""The secrets of a service's or a route's row: shown as masks, and put back where masks are posted."""

from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError

from routing.configuration import literals
from routing.configuration.faults import ConfigurationError, Fault, UnresolvedSecret
from routing.configuration.headers import reference
from routing.database import masking
from routing.models import Route

SECRET_FIELDS: Final = ("headers", "credential")
"""Settings that may contain secrets."""


class StoredSecrets:
    """Of one row, as it is when this is made."""

    def __init__(self, row: Any) -> None:
        self._row = row
        self._owner = ""
        self._known: dict[str, str] = {}
        self._masked: dict[str, Any] = {}
        self._shown: set[str] = set()
        stored = {name: getattr(row, name) for name in SECRET_FIELDS if getattr(row, name)}
        if row.pk is None or not stored:
            return
        self._owner = (row.service if isinstance(row, Route) else row).name
        masked = masking.mask(self._document(stored))
        self._known, self._masked = masked.secrets, masked.structure["services"][self._owner]
        self._shown = {str(field.value) for field in literals.fields(masked.structure)}

    def masked(self, name: str) -> Any:
        """The row's setting, with masks in place of secrets."""
        return self._masked.get(name, getattr(self._row, name))

    def unmask(self, name: str, value: Any) -> tuple[Any, list[Fault]]:
        """The setting with the secrets that its masks stand for, and faults, with paths relative to the settings: new
        secrets in plain text, masks that stand for nothing, and references to what may not be used.
        """
        if name not in SECRET_FIELDS or not isinstance(value, dict):
            return value, []  # a fault of another kind, which the model reports
        document = self._document({name: value})
        faults = [fault.without_prefix(2) for fault in literals.literal_secrets(document)]
        for field in literals.fields(document):
            if str(field.value) not in self._shown:
                faults += [Fault(field.path[2:], message) for message in refused(field.value)]
        if faults:
            return value, faults
        try:
            return literals.unmask(document, self._known)["services"][self._owner][name], []
        except ConfigurationError as error:
            return value, [fault.without_prefix(2) for fault in error.faults]

    def remasked(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings of the row with masks in place of secrets."""
        masked: dict[str, Any] = masking.mask(self._document(settings)).structure["services"][self._owner]
        return masked

    def _document(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"services": {self._owner: values}}


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
    """The same as a ValidationError."""
    for message in refused(value):
        raise ValidationError(f"{name}: {message}")
