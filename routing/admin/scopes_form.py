"""Forms of rows with a list of scopes."""

from typing import Any

from django.core.exceptions import ValidationError
from django.forms import ModelForm

from routing.admin.setting_fields.base import UNSET
from routing.admin.setting_fields.lists import Words
from routing.keys.scopes import require_known


class ScopesForm(ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """For rows with a column `scopes`. A value that is posted as it was shown is kept, and unknown scopes that the row
    has already.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field, stored = self.fields.get("scopes"), self.instance.scopes
        if isinstance(field, Words):
            self.initial["scopes"] = field.show(UNSET if stored is None else stored)

    def clean_scopes(self) -> Any:
        scopes = self.cleaned_data["scopes"]
        if "scopes" not in self.changed_data:
            return self.instance.scopes
        if isinstance(scopes, list):
            stored = self.instance.scopes
            try:
                require_known(set(map(str, scopes)).difference(stored if isinstance(stored, list) else ()))
            except ValueError as fault:
                raise ValidationError(str(fault)) from None
        return None if scopes is UNSET else scopes
