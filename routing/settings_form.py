"""The admin's form of a service or a route: shows no secret, and accepts none as it is."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.forms import ModelForm

from routing.configuration import literals
from routing.configuration.faults import ConfigurationError, UnresolvedSecret
from routing.configuration.headers import reference
from routing.configuration.literals import LITERAL
from routing.database import masking
from routing.models import Route


class SettingsForm(ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Masks stand for the stored secrets, which stay as they are unless their masks are replaced."""

    shows_instance = False
    """Whether the page shows the instance, not the fields, since its reader may not change it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._owner = ""
        self._known: dict[str, str] = {}
        self._shown: dict[str, Any] = {}
        if self.instance.pk is None or not self.instance.headers:
            return
        self._owner = (self.instance.service if isinstance(self.instance, Route) else self.instance).name
        masked = masking.mask(self._document(self.instance.headers))
        self._known, shown = masked.secrets, masked.structure["services"][self._owner]["headers"]
        self._shown = shown if isinstance(shown, dict) else {}
        self.initial["headers"] = shown
        if self.shows_instance or "headers" not in self.fields:
            self.instance.headers = shown

    def clean_headers(self) -> Any:
        headers = self.cleaned_data["headers"]
        if not isinstance(headers, dict):
            return headers  # a fault that the model reports
        if literals.literal_secrets(self._document(headers)):
            raise ValidationError(f"{self._names(headers)}: {LITERAL}.")
        for name, value in headers.items():
            if value != self._shown.get(name):
                _check_reference(name, value)
        try:
            return literals.unmask(self._document(headers), self._known)["services"][self._owner]["headers"]
        except ConfigurationError as error:
            raise ValidationError([fault.message for fault in error.faults]) from None

    def _document(self, headers: Any) -> dict[str, Any]:
        return {"services": {self._owner: {"headers": headers}}}

    def _names(self, headers: dict[str, Any]) -> str:
        return ", ".join(name for name, value in headers.items() if literals.is_secret(name, value))


class ReadOnlySettingsForm(SettingsForm):
    """For rows within the page of a service."""

    shows_instance = True


def _check_reference(name: str, value: object) -> None:
    """Raise ValidationError for a variable or a file that no service may use. One that is missing may come later."""
    found = reference(value)
    if found is None:
        return
    try:
        settings.CONFIG.secret(found.name)
    except UnresolvedSecret:
        pass
    except ValueError as fault:
        raise ValidationError(f"{name}: {fault}") from None
