"""Invalid values in addresses and posted forms: Django looks them up as they are, and fails."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.http import HttpRequest
from django.utils import timezone


class KeySelect(AutocompleteSelect):
    """Shows no choice for a value that cannot be a row's key. The form says that it is not valid."""

    def optgroups(self, name: str, value: Sequence[Any], attrs: dict[str, Any] | None = None) -> Any:
        model = self.choices.queryset.model
        return super().optgroups(name, [item for item in value if _is_key(model, item)], attrs)


class FormValuesMixin:
    """For pages with forms. An invalid value in the address is not used."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        searched: Sequence[str] = self.get_autocomplete_fields(request)  # type: ignore[attr-defined]  # a ModelAdmin's
        if "widget" not in options and db_field.name in searched:
            site = self.admin_site  # type: ignore[attr-defined]  # as above
            options["widget"] = KeySelect(db_field, site, using=options.get("using"))
        return super().formfield_for_foreignkey(db_field, request, **options)  # type: ignore[misc]  # as above

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        given: dict[str, Any] = super().get_changeform_initial_data(request)  # type: ignore[misc]  # as above
        initial = {}
        for name, value in given.items():
            with suppress(ValidationError, OverflowError):  # of a time at the end of the calendar
                initial[name] = self._value_of(name, value)
        return initial

    def _value_of(self, name: str, value: Any) -> Any:
        """What a form shows for the value. Raises ValidationError and OverflowError."""
        try:
            field = self.opts.get_field(name)  # type: ignore[attr-defined]  # as above
        except FieldDoesNotExist:
            return value
        if not isinstance(field, models.DateTimeField):
            return value
        moment = field.to_python(value)
        return timezone.localtime(moment) if moment is not None and timezone.is_aware(moment) else moment


def _is_key(model: type[models.Model], value: Any) -> bool:
    try:
        model._meta.pk.clean(value, None)
    except ValidationError:
        return value in (None, "")
    return True
