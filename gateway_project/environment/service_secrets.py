"""SECRETS_FROM: the variables and files whose values services may send to their backends."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gateway_project.environment.values import Get
from routing.configuration.headers import FILE
from routing.configuration.secret_files import DEFAULT_DIRECTORY, NO_SOURCES, SecretDirectories, parse_sources

PREFIX: Final = "GATEWAY_SECRET_"
"""Services may refer to every variable whose name begins with this."""
DEMONSTRATION: Final = f"{PREFIX}DEMONSTRATION"
"""The secret of the demonstration's webhooks."""


class ServiceSecrets(msgspec.Struct, frozen=True):
    """What services may refer to: `variables` beside those that begin with PREFIX, and files in `directories`."""

    variables: tuple[str, ...] = ()
    directories: tuple[Path, ...] = (DEFAULT_DIRECTORY,)

    def value(self, name: str, environment: Mapping[str, str], refused: Iterable[Path]) -> str | None:
        """The value of a variable, None if it is not set, or of `file:PATH`, unless the file is one of `refused`.

        Raises ValueError for a variable or a file that is not meant for services, such as SECRET_KEY, and
        UnresolvedSecret for a file that cannot be read.
        """
        if name.startswith(FILE):
            return SecretDirectories(self.directories, refused).read(name.removeprefix(FILE))
        if not name.startswith(PREFIX) and name not in self.variables:
            raise ValueError(f"env:{name} is not allowed: rename it {PREFIX}{name}, or list it in SECRETS_FROM")
        return environment.get(name)


def read(get: Get) -> ServiceSecrets:
    variables, directories = get("SECRETS_FROM", NO_SOURCES, parse_sources)
    return ServiceSecrets(variables, directories or (DEFAULT_DIRECTORY,))
