"""Reads variables one by one, and collects what is wrong with them."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from gateway_project.environment.generated_secrets import generated_secret, stored_secret

T = TypeVar("T")

BYTE_ORDER_MARK: Final = "\ufeff"
_QUOTED: Final = re.compile(r"""'[^']*'|"[^"]*\"""")
_INVISIBLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u2060\ufeff]")
"""Control characters other than tabs and line breaks, and characters without a width."""


class ConfigurationFault(Exception):
    """The environment is invalid; `faults` names each variable and what is wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Variables:
    """Parses variables, and appends what is invalid to `faults`."""

    def __init__(self, environment: Mapping[str, str], faults: list[str]) -> None:
        self._environment = environment
        self._faults = faults

    def get(self, name: str, default: T, parse: Callable[[str], T]) -> T:
        """The parsed value; `default` if the variable is unset, empty or invalid."""
        text = self._environment.get(name, "").strip()
        if not text:
            return default
        if (fault := text_fault(text)) is not None:
            self._faults.append(f"{name}: {fault}")
            return default
        try:
            return parse(text)
        except ValueError as fault:
            self._faults.append(f"{name}: {fault}")
            return default

    def from_file(self, name: str, state: Path, *, is_made: bool) -> str:
        """The secret key in the state directory, made if there is none and `is_made`; "" if there is none."""
        try:
            return generated_secret(state) if is_made else stored_secret(state)
        except OSError as error:
            self._faults.append(f"{name}: {error.filename}: {error.strerror}; set DATA_DIR to a directory of your own")
            return ""


def text_fault(text: str) -> str | None:
    """What a file of variables has added to a value, without quoting it; None if it is as it was meant."""
    if is_quoted(text):
        return "is in quotation marks, which are a part of it here: docker's --env-file does not remove them"
    found = _INVISIBLE.search(text)
    return None if found is None else f"contains the invisible character U+{ord(found[0]):04X}"


def is_quoted(text: str) -> bool:
    """Whether quotation marks are a part of the value: shells, systemd and Compose remove them, docker does not."""
    return _QUOTED.fullmatch(text) is not None


def name_faults(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with the variables' names: a byte order mark hides the first variable of a file."""
    marked = [name.removeprefix(BYTE_ORDER_MARK) for name in environment if name.startswith(BYTE_ORDER_MARK)]
    return [f"{name}: its name begins with a byte order mark: save the file as UTF-8 without one" for name in marked]
