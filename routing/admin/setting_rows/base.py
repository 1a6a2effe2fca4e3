"""What the settings of all kinds of rows have in common."""

from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar

from routing.configuration.faults import Fault, Path

ANY: str = "any"
"""The name of a row that has none yet."""


class RowSettings:
    """The settings of one row, by their names in the configuration file. In this base class, each has a column of its
    name.
    """

    identity: ClassVar[tuple[str, ...]] = ("name",)
    """The form's fields that are not settings."""
    names: ClassVar[tuple[str, ...]]
    """All settings, those without a form field of their own too."""
    secret_forms: ClassVar[Mapping[str, type | tuple[type, ...]]] = {}
    """Settings that may contain secrets, and the types of their valid values."""
    empty_values: ClassVar[Mapping[str, Any]] = {}
    """What is stored where nothing is set; None for all others."""
    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Keys of the file that the settings do not include, and where their values are edited."""
    prefix: ClassVar[Path] = ()
    """What the paths of the model's faults begin with."""

    def __init__(self, row: Any) -> None:
        self.row = row

    def owner(self) -> str:
        """The row's name in a configuration."""
        return str(self.row.name)

    def stored(self, name: str) -> Any:
        """The value of a setting; None or its empty value if it is not set."""
        return getattr(self.row, name)

    def store(self, name: str, value: Any) -> None:
        """Set the setting, or unset it with None."""
        setattr(self.row, name, copy(self.empty_values.get(name)) if value is None else value)

    def replace(self, settings: Mapping[str, Any]) -> None:
        """Store these settings, and no others. They have no faults."""
        for name in self.names:
            self.store(name, settings.get(name))

    def settings(self) -> dict[str, Any]:
        """The row's settings, as the configuration file has them."""
        settings: dict[str, Any] = self.row.to_document()
        return settings

    def document(self, settings: Any, owner: str) -> dict[str, Any]:
        """A configuration that has nothing but these settings. Their path has two steps."""
        raise NotImplementedError

    def settings_in(self, document: dict[str, Any], owner: str) -> dict[str, Any]:
        """The settings in such a configuration."""
        raise NotImplementedError

    def faults(self, settings: dict[str, Any]) -> list[Fault]:
        """The faults of these settings, with paths relative to them."""
        raise NotImplementedError

    def canonical(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Valid settings in the file's canonical form."""
        raise NotImplementedError
