"""Forms of rows with a list of scopes."""

from typing import Any

from django.forms import ModelForm

from routing.admin.setting_fields.base import UNSET
from routing.admin.setting_fields.lists import Words


class ScopesForm(ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """For rows with a column `scopes`. A value that is posted as it was shown is kept."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field, stored = self.fields.get("scopes"), self.instance.scopes
        if isinstance(field, Words):
            self.initial["scopes"] = field.show(UNSET if stored is None else stored)

    def clean_scopes(self) -> Any:
        scopes = self.cleaned_data["scopes"]
        if "scopes" not in self.changed_data:
            return self.instance.scopes
        return None if scopes is UNSET else scopes
