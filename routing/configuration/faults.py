"""Configuration errors with their location. All errors of a document are collected before any is reported."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

Path = tuple[str | int, ...]


class UnresolvedSecret(ValueError):
    """A reference to a secret that this process cannot read. The document is valid; elsewhere it may load."""


class Fault(msgspec.Struct, frozen=True):
    """One error at `path`. `key` is the offending key there, if the key and not its value is wrong.

    `line` is the line in the text, from 1, once known. `unresolved` marks an UnresolvedSecret.
    """

    path: Path
    message: str
    key: str | None = None
    line: int | None = None
    unresolved: bool = False

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line else ""
        return ": ".join(part for part in (line, format_path(self.path), self.message) if part)

    def with_prefix(self, path: Path) -> "Fault":
        """The same fault with its path relative to an ancestor: `path` is prepended."""
        return msgspec.structs.replace(self, path=(*path, *self.path))

    def without_prefix(self, length: int) -> "Fault":
        """The same fault with its path relative to a descendant: the first `length` steps are removed."""
        return msgspec.structs.replace(self, path=self.path[length:])


class ConfigurationError(Exception):
    """The configuration is invalid. `faults` are all its faults, in document order."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class Faults:
    """Collects faults, so that parsing continues after an error."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    @contextmanager
    def at(self, *path: str | int) -> Iterator[None]:
        """Catch ValueError and ConfigurationError in the block and record them as faults at `path`."""
        try:
            yield
        except ConfigurationError as error:
            self.found += [fault.with_prefix(path) for fault in error.faults]
        except ValueError as error:
            self.found.append(Fault(path, str(error), unresolved=isinstance(error, UnresolvedSecret)))

    def add(self, path: Path, message: str, key: str | None = None) -> None:
        self.found.append(Fault(path, message, key))

    def raise_if_any(self) -> None:
        """Raises ConfigurationError if there are faults."""
        if self.found:
            raise ConfigurationError(self.found)


def format_path(path: Path) -> str:
    """`services.crm.routes[0].path`. A name with a line break, or an empty one, is quoted: `services['a\\nb']`."""
    return "".join(map(_format_step, path)).lstrip(".")


def _format_step(step: str | int) -> str:
    is_plain = isinstance(step, str) and step.isprintable() and step.strip() != ""
    return f".{step}" if is_plain else f"[{step!r}]"
