"""Pages of rows whose `settings` may contain secrets: shown masked, and kept unless their masks are replaced."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.forms import ModelForm
from django.http import HttpRequest

from routing.admin.stored_secrets import check_reference
from routing.configuration import literals
from routing.configuration.faults import ConfigurationError
from routing.configuration.literals import LITERAL
from routing.database import masking


class MaskedSettingsForm(ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Masks stand for the stored secrets, which stay as they are unless their masks are replaced."""

    secret_name: ClassVar[str]
    """The setting that a secret in plain text is reported for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: dict[str, str] = {}
        if self.instance.pk is not None:
            masked = masking.mask(self.to_document(self.instance.settings))
            self._known, shown = masked.secrets, self.from_document(masked.structure)
            self.initial["settings"] = shown
            if "settings" not in self.fields:  # a page that may only be viewed shows the instance
                self.instance.settings = shown

    def to_document(self, settings: Any) -> dict[str, Any]:
        """A configuration with this row alone."""
        raise NotImplementedError

    def from_document(self, document: dict[str, Any]) -> Any:
        """The row's settings in such a configuration."""
        raise NotImplementedError

    def clean_settings(self) -> Any:
        document = self.to_document(self.cleaned_data["settings"])
        if literals.literal_secrets(document):
            raise ValidationError(f"{self.secret_name}: {LITERAL}.")
        try:
            unmasked = literals.unmask(document, self._known)
        except ConfigurationError as error:
            raise ValidationError([fault.message for fault in error.faults]) from None
        for field in literals.fields(document):
            check_reference(field.name, field.value)
        return self.from_document(unmasked)


class MaskedSettingsMixin:
    """For a ModelAdmin with such a form."""

    settings_help: ClassVar[str]

    def formfield_for_dbfield(self, db_field: "models.Field[Any, Any]", request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "settings":
            options["help_text"] = self.settings_help
        return super().formfield_for_dbfield(db_field, request, **options)  # type: ignore[misc]  # a ModelAdmin's

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse lookups of settings, which would tell a viewer whether a guess at a secret is right."""
        return not lookup.startswith("settings") and bool(
            super().lookup_allowed(lookup, value, request)  # type: ignore[misc]  # a ModelAdmin's
        )
