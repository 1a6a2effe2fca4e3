"""Variables whose names resemble one of the gateway's: a misspelt variable is not a fault, and has no effect."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Final, TypeVar

from gateway_project.config import parse
from gateway_project.doctor.finding import Finding, warning
from gateway_project.environment import service_secrets
from gateway_project.environment.variables import Variables

T = TypeVar("T")

SHORTEST: Final = 6
ALIKE: Final = 0.9
"""The least similarity: that of a name of ten letters with one wrong, left out or added."""
_SIGN_IN: Final = {"STAFF_OIDC_ISSUER": "https://login.example.com"}
"""With it, the variables of staff's sign-in are read too."""


class _Names(Variables):
    """Records the names that are read."""

    def __init__(self) -> None:
        super().__init__({}, [])
        self.found = {"SECRET_KEY"}

    def get(self, name: str, default: T, parse: Callable[[str], T]) -> T:
        self.found.add(name)
        return super().get(name, default, parse)


def check_names(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Nothing if no name is nearly one of the gateway's."""
    names = _Names()
    parse(_SIGN_IN, names, None)
    for name in sorted(environment.keys() - names.found):
        if len(name) < SHORTEST or name.startswith(service_secrets.PREFIX):
            continue
        if meant := get_close_matches(name, names.found, n=1, cutoff=ALIKE):
            yield warning("environment", f"{name} has no effect", f"write {meant[0]}, if that is meant")
