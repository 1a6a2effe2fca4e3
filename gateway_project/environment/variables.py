"""Reads variables one by one, and collects what is wrong with them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from gateway_project.environment.generated_secrets import generated_secret, stored_secret

T = TypeVar("T")


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
