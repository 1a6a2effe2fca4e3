"""A section of settings, and the keys that have a field."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from django.utils.translation import gettext_lazy as _

from routing.admin.setting_fields.base import Label, SettingField
from routing.admin.setting_fields.labels import label_of
from routing.configuration.faults import Path

Make = Callable[..., SettingField]
NO_LIMIT: Final = _("no limit")
NONE: Final = _("none")
OFF: Final = _("off")


class SectionKey(NamedTuple):
    """One value of a section, at `path` within it. `kind` is called with a label, a help text and `options`."""

    path: Path
    kind: Make
    help_text: Label = ""
    options: tuple[tuple[str, Any], ...] = ()

    def field(self) -> SettingField:
        return self.kind(label=label_of(self.path), help_text=self.help_text, **dict(self.options))


class Section(NamedTuple):
    """A section's keys. `switch`: which of the words `on` and `off` may stand in place of the keys."""

    title: Label
    help_text: Label
    switch: tuple[str, ...]
    keys: tuple[SectionKey, ...]


def key(name: str, kind: Make, help_text: Label = "", **options: Any) -> SectionKey:
    """`name` has dots between its steps."""
    return SectionKey(tuple(name.split(".")), kind, help_text, tuple(options.items()))
