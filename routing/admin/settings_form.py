"""The admin's form of a service or a route: shows no secret, and accepts none as it is."""

from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.forms import ModelForm

from routing.configuration import literals
from routing.configuration.faults import ConfigurationError, UnresolvedSecret
from routing.configuration.headers import reference
from routing.configuration.literals import LITERAL
from routing.database import masking
from routing.models import Route

SECRET_FIELDS: Final = ("headers", "credential")
"""Fields of the form that may contain secrets."""


class SettingsForm(ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Masks stand for the stored secrets, which stay as they are unless their masks are replaced."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._owner = ""
        self._known: dict[str, str] = {}
        self._shown: set[str] = set()
        stored = {name: getattr(self.instance, name) for name in SECRET_FIELDS if getattr(self.instance, name)}
        if self.instance.pk is None or not stored:
            return
        self._owner = (self.instance.service if isinstance(self.instance, Route) else self.instance).name
        masked = masking.mask(self._document(stored))
        self._known, shown = masked.secrets, masked.structure["services"][self._owner]
        self._shown = {str(field.value) for field in literals.fields(masked.structure)}
        for name in stored:
            self.initial[name] = shown[name]
            if name not in self.fields:  # a page that may only be viewed shows the instance
                setattr(self.instance, name, shown[name])

    def clean_headers(self) -> Any:
        return self._clean("headers")

    def clean_credential(self) -> Any:
        return self._clean("credential")

    def _clean(self, name: str) -> Any:
        value = self.cleaned_data[name]
        if not isinstance(value, dict):
            return value  # a fault that the model reports
        document = self._document({name: value})
        if literals.literal_secrets(document):
            raise ValidationError(f"{_names(document)}: {LITERAL}.")
        for field in literals.fields(document):
            if str(field.value) not in self._shown:
                check_reference(field.name, field.value)
        try:
            return literals.unmask(document, self._known)["services"][self._owner][name]
        except ConfigurationError as error:
            raise ValidationError([fault.message for fault in error.faults]) from None

    def _document(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"services": {self._owner: settings}}


def _names(document: dict[str, Any]) -> str:
    secret = [field.name for field in literals.fields(document) if literals.is_secret(field.name, field.value)]
    return ", ".join(secret)


def check_reference(name: str, value: object) -> None:
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
