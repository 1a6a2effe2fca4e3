"""What is wrong with a configuration, and where: every fault at once, none swallowed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

Path = tuple[str | int, ...]


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong. `path` leads to it; `key` is the key at fault there, when the fault is a key and not a value.

    `line` is the text's, from 1, once it is known.
    """

    path: Path
    message: str
    key: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line else ""
        return ": ".join(part for part in (line, format_path(self.path), self.message) if part)

    def with_prefix(self, path: Path) -> "Fault":
        """The same fault, seen from further up."""
        return msgspec.structs.replace(self, path=(*path, *self.path))

    def without_prefix(self, steps: int) -> "Fault":
        """The same fault, seen from further down."""
        return msgspec.structs.replace(self, path=self.path[steps:])


class ConfigurationError(Exception):
    """A configuration that cannot be served. `faults` are all there are, in the order of the text."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class Faults:
    """Gathers what goes wrong under each path, so that reading goes on to the end."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    @contextmanager
    def at(self, *path: str | int) -> Iterator[None]:
        """Whatever is wrong inside the block is a fault at `path`."""
        try:
            yield
        except ConfigurationError as error:
            self.found += [fault.with_prefix(path) for fault in error.faults]
        except ValueError as error:
            self.found.append(Fault(path, str(error)))

    def add(self, path: Path, message: str, key: str | None = None) -> None:
        self.found.append(Fault(path, message, key))

    def raise_if_any(self) -> None:
        """Raises ConfigurationError when anything was found."""
        if self.found:
            raise ConfigurationError(self.found)


def format_path(path: Path) -> str:
    """`services.crm.routes[0].path`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
