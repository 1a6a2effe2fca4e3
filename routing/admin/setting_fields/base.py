"""What all fields of settings have in common, and the fields of single values."""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from unfold.widgets import INPUT_CLASSES, SELECT_CLASSES, TEXTAREA_CLASSES

from routing.configuration.document import inline, parse
from routing.configuration.faults import ConfigurationError

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise  # of its stubs


class _Unset:
    """The value of a setting that is not set, as opposed to one that is null."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset()
if TYPE_CHECKING:
    Label = str | _StrPromise
else:
    Label = str | Promise
"""A text of the page, or one that is translated when it is shown."""
NOT_SET: Final = _("not set")
NULL: Final = "null"
"""The choice, among units and the like, that stands for null."""
_INTEGER: Final = re.compile(r"-?[0-9]{1,15}")
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
"""What a database does not store: null characters, and halves of surrogate pairs."""
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(?:[.,][0-9]{1,15})?")
_THOUSANDS: Final = re.compile(r"-?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
"""A thousand in English, and one with decimals in German: 10,000 ms would be saved as 10."""


class SettingField(forms.Field):
    """Shows a stored value as a widget's, and reads that back. `read` returns UNSET where nothing was entered.

    A value that is posted as it was shown has not changed, whatever its form in the configuration: the form keeps it.
    """

    def __init__(self, *, label: Label, help_text: Label = "", widget: forms.Widget | None = None) -> None:
        super().__init__(required=False, label=label, help_text=help_text, widget=widget)

    def show(self, value: Any) -> Any:
        """A text, or a list of texts for several controls."""
        return "" if value is UNSET else value if isinstance(value, str) else inline(value)

    def read(self, shown: Any) -> Any:
        """Raises ValidationError."""
        return shown or UNSET

    def clean(self, value: Any) -> Any:
        shown = tidy(value)
        if _is_unstorable(shown):
            raise ValidationError(_("This contains a character that cannot be stored."))
        return self.read(shown)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(tidy(initial) != tidy(data))


def tidy(shown: Any) -> Any:
    """What a browser posts, without outer spaces and with line breaks of one kind."""
    if isinstance(shown, list | tuple):
        return [tidy(item) for item in shown]
    return "" if shown is None else str(shown).replace("\r\n", "\n").strip()


def _is_unstorable(shown: Any) -> bool:
    if isinstance(shown, list):
        return any(map(_is_unstorable, shown))
    return _UNSTORABLE.search(shown) is not None


class Together(forms.MultiWidget):
    """Several controls in a row, such as a number and its unit. Its value is the list of theirs."""

    template_name = "setting_fields/together.html"

    def decompress(self, value: Any) -> list[Any]:
        return [""] * len(self.widgets) if value in (None, "") else [value, *[""] * (len(self.widgets) - 1)]

    def id_for_label(self, id_: str) -> str:
        return f"{id_}_0" if id_ else id_


def text_input(width: str = "", **attributes: Label) -> forms.TextInput:
    classes = [name for name in INPUT_CLASSES if not width or name not in ("w-full", "max-w-2xl", "min-w-20")]
    return forms.TextInput({"class": " ".join([*classes, width]), "autocomplete": "off", **attributes})


def select(choices: Iterable[tuple[str, Label]], *, width: str = "", **attributes: Label) -> forms.Select:
    classes = [name for name in SELECT_CLASSES if not width or name not in ("w-full", "max-w-2xl")]
    widget = forms.Select({"class": " ".join([*classes, width]), **attributes}, list(choices))
    widget.template_name = "unfold/widgets/select.html"
    return widget


def aria_label(label: Label, control: Label) -> dict[str, Label]:
    """The accessible name of one of several controls of a field."""
    return {"aria-label": format_lazy("{}: {}", label, control)}


def textarea(rows: int, **attributes: str) -> forms.Textarea:
    classes = " ".join([*TEXTAREA_CLASSES, "font-mono", "max-w-2xl!"])
    return forms.Textarea({"class": classes, "rows": str(rows), "spellcheck": "false", **attributes})


class Suffixed(forms.TextInput):
    """A text input with its unit beside it."""

    template_name = "setting_fields/suffixed.html"

    def __init__(self, unit: Label, **attributes: str) -> None:
        super().__init__(text_input("setting-number", **attributes).attrs)
        self.unit = unit

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        return context | {"unit": self.unit}


class Text(SettingField):
    """A text. `can_be_empty`: the empty text is a value, as opposed to a setting that is not set."""

    EMPTY: ClassVar[str] = "empty"

    def __init__(self, *, label: Label, help_text: Label = "", can_be_empty: bool = False) -> None:
        self._can_be_empty = can_be_empty
        choices = [("", _("as entered")), (self.EMPTY, _("the empty text"))]
        mode = select(choices, width="setting-unit", **aria_label(label, _("how")))
        widget = Together([text_input("grow"), mode]) if can_be_empty else text_input()
        super().__init__(label=label, help_text=help_text, widget=widget)

    def show(self, value: Any) -> Any:
        if not self._can_be_empty:
            return super().show(value)
        return ["", self.EMPTY] if value == "" else [super().show(value), ""]

    def read(self, shown: Any) -> Any:
        if not self._can_be_empty:
            return shown or UNSET
        text, mode = shown or ("", "")
        return text or ("" if mode == self.EMPTY else UNSET)


class Lines(SettingField):
    """A text that may have several lines."""

    def __init__(self, *, label: Label, help_text: Label = "") -> None:
        super().__init__(label=label, help_text=help_text, widget=textarea(2))


class Whole(SettingField):
    """A whole number of something."""

    def __init__(self, *, label: Label, unit: Label = "", help_text: Label = "") -> None:
        super().__init__(label=label, help_text=help_text, widget=Suffixed(unit, inputmode="numeric"))

    def read(self, shown: Any) -> Any:
        if not shown:
            return UNSET
        if _INTEGER.fullmatch(shown) is None:
            raise ValidationError(_("Enter a whole number."))
        return int(shown)


class Number(SettingField):
    """A number of something. `as_text`: kept as it is written, as amounts of money are."""

    def __init__(self, *, label: Label, unit: Label = "", help_text: Label = "", as_text: bool = False) -> None:
        super().__init__(label=label, help_text=help_text, widget=Suffixed(unit, inputmode="decimal"))
        self._as_text = as_text

    def show(self, value: Any) -> Any:
        return "" if value is UNSET else f"{value}"

    def read(self, shown: Any) -> Any:
        if not shown:
            return UNSET
        text = number_text(shown)
        return text if self._as_text else float(text) if "." in text else int(text)


def number_text(shown: str) -> str:
    """Raises ValidationError."""
    if _THOUSANDS.fullmatch(shown):
        raise ValidationError(_("Write thousands without a separator, and three decimals with a point."))
    if _NUMBER.fullmatch(shown) is None:
        raise ValidationError(_("Enter a number."))
    return shown.replace(",", ".")


class Choice(SettingField):
    """One of a few words, or of those that a function returns. A stored word is a choice too, whatever it is."""

    def __init__(
        self,
        *,
        label: Label,
        choices: Iterable[Any] = (),
        choose_from: Callable[[], Iterable[str]] | None = None,
        help_text: Label = "",
        unset: Label = NOT_SET,
    ) -> None:
        super().__init__(label=label, help_text=help_text, widget=select([]))
        self._choices, self._choose_from, self._unset = choices, choose_from, unset
        self.words: list[str] = []

    def show(self, value: Any) -> Any:
        shown = super().show(value)
        words = words_of(self._choose_from() if self._choose_from else self._choices)
        self.words = [*words, *([shown] if shown and shown not in words else [])]
        self.widget.choices = [("", self._unset), *((word, word) for word in self.words)]
        return shown

    def read(self, shown: Any) -> Any:
        if shown and shown not in self.words:
            raise ValidationError(_("Choose one of the words."))
        return shown or UNSET


class Flag(SettingField):
    """True, false or not set."""

    def __init__(self, *, label: Label, help_text: Label = "", unset: Label = NOT_SET) -> None:
        widget = select([("", unset), ("true", _("yes")), ("false", _("no"))])
        super().__init__(label=label, help_text=help_text, widget=widget)

    def read(self, shown: Any) -> Any:
        if shown not in ("", "true", "false"):
            raise ValidationError(_("Choose yes or no."))
        return UNSET if not shown else shown == "true"


class Json(SettingField):
    """Any value, written in YAML or JSON."""

    def __init__(self, *, label: Label, help_text: Label = "") -> None:
        super().__init__(label=label, help_text=help_text, widget=textarea(2))

    def show(self, value: Any) -> Any:
        return "" if value is UNSET else inline(value)

    def read(self, shown: Any) -> Any:
        return read_yaml(shown) if shown else UNSET


def read_yaml(text: str) -> Any:
    """Raises ValidationError."""
    try:
        return parse(text).structure
    except ConfigurationError as error:
        raise ValidationError([str(fault) for fault in error.faults]) from None


def words_of(kind: Iterable[Any]) -> list[str]:
    return [str(member) for member in kind]
