"""Fields of lists: of words that are typed or picked, of a few known words, and of names with values."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import CHECKBOX_CLASSES

from routing.admin.setting_fields.base import (
    NULL,
    UNSET,
    Label,
    SettingField,
    Together,
    aria_label,
    read_yaml,
    select,
    textarea,
    words_of,
)
from routing.configuration.document import inline

EMPTY: Final = "empty"
"""The choice that stands for an empty list, as opposed to a setting that is not set."""


class Words(SettingField):
    """A list of texts, one in each line, or as the file writes it. In a browser, they are picked, typed and removed one
    by one.

    `suggestions` are offered; any other text may be entered too. `empty` and `null`: what an empty list and null mean,
    if they differ from a setting that is not set.
    """

    def __init__(
        self,
        *,
        label: Label,
        help_text: Label = "",
        suggestions: Callable[[], Iterable[str]] | None = None,
        empty: Label = "",
        null: Label = "",
    ) -> None:
        area = Picker(suggestions)
        modes = [("", _("as listed")), *([(EMPTY, empty)] if empty else []), *([(NULL, null)] if null else [])]
        mode = select(modes, width="setting-unit", **aria_label(label, _("how")))
        super().__init__(label=label, help_text=help_text, widget=Together([area, mode]) if len(modes) > 1 else area)
        self._has_modes = len(modes) > 1

    def show(self, value: Any) -> Any:
        entries = value if isinstance(value, list | tuple) else [] if value is UNSET or value is None else [value]
        text = "\n".join(item if isinstance(item, str) and item else inline(item) for item in entries)
        if not self._has_modes:
            return text
        return [text, NULL if value is None else EMPTY if value is not UNSET and not entries else ""]

    def read(self, shown: Any) -> Any:
        text, mode = (shown or ("", "")) if self._has_modes else (shown, "")
        if text.startswith("["):
            return _listed(text)
        entries = [line.strip() for line in text.split("\n") if line.strip()]
        if entries:
            return entries
        return None if mode == NULL else [] if mode == EMPTY else UNSET


def _listed(text: str) -> list[Any]:
    """A list as the file writes it on one line. Raises ValidationError."""
    entries = read_yaml(text)
    if not isinstance(entries, list):
        raise ValidationError(_("Enter one entry in each line."))
    return entries


class Picker(forms.Textarea):
    """A text area that a script turns into a list of entries, with suggestions for the next."""

    template_name = "setting_fields/picker.html"

    def __init__(self, suggestions: Callable[[], Iterable[str]] | None = None) -> None:
        super().__init__(textarea(2, **{"data-picker": ""}).attrs)
        self._suggestions = suggestions

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        return context | {"suggestions": list(self._suggestions()) if self._suggestions else []}


class Boxes(forms.CheckboxSelectMultiple):
    """Check boxes side by side, in a group that has the field's label."""

    template_name = "setting_fields/boxes.html"
    option_template_name = "django/forms/widgets/input_option.html"

    def __init__(self, label: Label, choices: Iterable[tuple[str, Label]]) -> None:
        super().__init__({"class": " ".join(CHECKBOX_CLASSES)}, list(choices))
        self._label = label

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        return context | {"label": self._label}


class Choices(SettingField):
    """A choice of several among a few words. `empty` is as for Words."""

    NONE: ClassVar[str] = "[]"

    def __init__(self, *, label: Label, choices: Iterable[Any], help_text: Label = "", empty: Label = "") -> None:
        self.words = words_of(choices)
        boxes = [*((word, word) for word in self.words), *([(self.NONE, empty)] if empty else [])]
        super().__init__(label=label, help_text=help_text, widget=Boxes(label, boxes))

    def show(self, value: Any) -> Any:
        """In the order of the boxes. A stored word has one too, whatever it is."""
        if value is UNSET or value is None:
            return []
        entries = [str(item) for item in (value if isinstance(value, list | tuple) else [value])]
        unknown = [word for word in entries if word not in self.words]
        if unknown:
            self.words = [*self.words, *unknown]
            self.widget.choices = [*self.widget.choices, *((word, word) for word in unknown)]
        return [word for word in self.words if word in entries] if entries else [self.NONE]

    def read(self, shown: Any) -> Any:
        chosen = [word for word in shown or () if word != self.NONE]
        if any(word not in self.words for word in chosen):
            raise ValidationError(_("Choose some of the words."))
        return chosen or ([] if self.NONE in (shown or ()) else UNSET)


class Named(SettingField):
    """Values by name, one `Name: value` in each line, as the fields of a request are written.

    `words` may stand in their place: each with what it means.
    """

    def __init__(self, *, label: Label, help_text: Label = "", words: Mapping[str, Label] | None = None) -> None:
        self._words = dict(words or {})
        mode = select([("", _("as listed")), *self._words.items()], width="setting-unit", **aria_label(label, _("how")))
        widget = Together([textarea(2), mode]) if words else textarea(2)
        super().__init__(label=label, help_text=help_text, widget=widget)

    def show(self, value: Any) -> Any:
        """As YAML on one line, if a value is not a text of one line."""
        if not self._words:
            return self._text(value)
        is_word = isinstance(value, str) and value in self._words
        return ["", value] if is_word else [self._text(value), ""]

    def read(self, shown: Any) -> Any:
        text, mode = (shown or ("", "")) if self._words else (shown, "")
        return mode if mode in self._words else _named(text)

    def _text(self, value: Any) -> str:
        if value is UNSET or value is None:
            return ""
        if not isinstance(value, dict) or not all(map(_is_line, value.items())):
            return inline(value)
        return "\n".join(f"{name}: {text}" for name, text in value.items())


def _named(shown: str) -> Any:
    """Raises ValidationError."""
    if not shown:
        return UNSET
    if shown.startswith("{"):
        return read_yaml(shown)
    values: dict[str, str] = {}
    for number, line in enumerate(shown.split("\n"), 1):
        name, colon, text = (part.strip() for part in line.partition(":"))
        if line.strip() and not (name and colon):
            raise ValidationError(gettext("Line %(line)d: write a name, a colon and a value.") % {"line": number})
        if name in values:
            raise ValidationError(gettext("Line %(line)d: %(name)s is there twice.") % {"line": number, "name": name})
        if name:
            values[name] = text
    return values


def _is_line(item: tuple[Any, Any]) -> bool:
    name, text = item
    return (
        isinstance(text, str)
        and isinstance(name, str)
        and ":" not in name
        and (name, text) == (name.strip(), text.strip())
        and not name.startswith("{")
        and "\n" not in name + text
        and "\r" not in name + text
    )
