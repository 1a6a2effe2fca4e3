"""Fields of values with a unit beside them: durations, rates and shares."""

import re
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from routing.admin.setting_fields.base import (
    NULL,
    UNSET,
    Label,
    SettingField,
    Suffixed,
    Together,
    aria_label,
    number_text,
    select,
    text_input,
)

_UNITS: Final = {
    "ms": _("milliseconds"),
    "s": _("seconds"),
    "m": _("minutes"),
    "h": _("hours"),
    "d": _("days"),
}
_DURATION: Final = re.compile(r"([0-9.]+)(ms|s|m|h|d)?")
_RATE: Final = re.compile(r"([0-9]+)/([0-9]*)([smhd])")


class Duration(SettingField):
    """A number and a unit of time. `null`: what null means, if it may be one."""

    def __init__(self, *, label: Label, help_text: Label = "", null: Label = "") -> None:
        choices = [*_UNITS.items(), *([(NULL, null)] if null else [])]
        unit = select(choices, width="setting-unit", **aria_label(label, _("unit")))
        widget = Together([text_input("setting-number", inputmode="decimal"), unit])
        super().__init__(label=label, help_text=help_text, widget=widget)
        self._null = null

    def show(self, value: Any) -> Any:
        if value is UNSET:
            return ["", "s"]
        if value is None:
            return ["", NULL]
        form = _DURATION.fullmatch(str(value).strip())
        return [form[1], form[2] or "s"] if form else [str(value), "s"]

    def read(self, shown: Any) -> Any:
        number, unit = shown or ("", "s")
        if unit == NULL and self._null:
            return None
        if not number:
            return UNSET
        if unit not in _UNITS:
            raise ValidationError(_("Choose a unit."))
        return f"{number_text(number)}{unit}"


class Rate(SettingField):
    """A number in a time, such as 100 in 1 minute."""

    def __init__(self, *, label: Label, help_text: Label = "") -> None:
        units = [(unit, name) for unit, name in _UNITS.items() if unit != "ms"]
        widget = Together(
            [
                text_input("setting-number", inputmode="numeric"),
                text_input("setting-count", inputmode="numeric", **aria_label(label, _("in how many"))),
                select(units, width="setting-unit", **aria_label(label, _("unit of time"))),
            ]
        )
        widget.template_name = "setting_fields/rate.html"
        super().__init__(label=label, help_text=help_text, widget=widget)

    def show(self, value: Any) -> Any:
        form = None if value is UNSET else _RATE.fullmatch(str(value).strip())
        if form:
            return [form[1], form[2], form[3]]
        return ["" if value is UNSET else str(value), "", "m"]

    def read(self, shown: Any) -> Any:
        limit, count, unit = shown or ("", "", "m")
        if not limit:
            return UNSET
        text = f"{limit}/{count}{unit}"
        if _RATE.fullmatch(text) is None:
            raise ValidationError(_("Enter whole numbers, such as 100 in 1 minute."))
        return text


class Share(SettingField):
    """A share, as a percentage. `null`: what null means, if it may be one."""

    def __init__(self, *, label: Label, help_text: Label = "", null: Label = "") -> None:
        unit = select([("%", "%"), (NULL, null)], width="setting-unit", **aria_label(label, _("unit")))
        number = text_input("setting-number", inputmode="decimal")
        super().__init__(
            label=label,
            help_text=help_text,
            widget=Together([number, unit]) if null else Suffixed("%", inputmode="decimal"),
        )
        self._null = null

    def show(self, value: Any) -> Any:
        text = "" if value is UNSET or value is None else _percent(value)
        if not self._null:
            return text
        return [text, NULL if value is None else "%"]

    def read(self, shown: Any) -> Any:
        number, unit = (shown or ("", "%")) if self._null else (shown, "%")
        if unit == NULL:
            return None
        return float(Decimal(number_text(number)) / 100) if number else UNSET


def _percent(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{(Decimal(repr(value)) * 100).normalize():f}"
