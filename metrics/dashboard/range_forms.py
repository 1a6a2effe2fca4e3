"""Forms of pages about a range of time."""

from typing import Any, ClassVar

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class RangeForm(forms.Form):
    """The fields `start` and `end`; both are included. `out_of_order` is the error of a start after the end."""

    out_of_order: ClassVar[Promise]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("start") and data.get("end") and data["start"] > data["end"]:
            self.add_error("start", str(self.out_of_order))
        return data


class DaysForm(RangeForm):
    start = forms.DateField(required=False)
    end = forms.DateField(required=False)
    out_of_order = _("The first day must not be after the last one.")
