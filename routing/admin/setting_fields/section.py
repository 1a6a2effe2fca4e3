"""A section of settings, and the keys that have a field."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from routing.admin.setting_fields.base import SettingField
from routing.configuration.faults import Path

Make = Callable[..., SettingField]
NO_LIMIT: Final = "no limit"
NONE: Final = "none"


class Key(NamedTuple):
    """One value of a section, at `path` within it. `kind` is called with a label, a help text and `options`."""

    path: Path
    kind: Make
    help_text: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    def field(self) -> SettingField:
        label = " ".join(str(step) for step in self.path).replace("_", " ").capitalize()
        return self.kind(label=label, help_text=self.help_text, **dict(self.options))


class Section(NamedTuple):
    """A section's keys. `switch`: the words that may stand in place of its keys, of `on` and `off`."""

    title: str
    help_text: str
    switch: tuple[str, ...]
    keys: tuple[Key, ...]


def key(name: str, kind: Make, help_text: str = "", **options: Any) -> Key:
    """`name` has dots between its steps."""
    return Key(tuple(name.split(".")), kind, help_text, tuple(options.items()))
