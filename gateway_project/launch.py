"""Runs before Django reads its settings: starts the private Valkey for `REDIS_URL=embedded`, or finds that of a running
gateway, and completes the environment of `serve`.
"""

import contextlib
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Final

from gateway_project.config import MIN_SECRET_KEY, locate, read
from gateway_project.environment.generated_secrets import generated_secret
from gateway_project.environment.installation import database_digest
from gateway_project.environment.redis_server import EMBEDDED
from gateway_project.environment.variables import ConfigurationFault
from gateway_project.logs.capture import SERVE, SERVERS
from gateway_project.server.embedded import EmbeddedUnavailable, EmbeddedValkey, supported
from gateway_project.server.running_valkey import running_valkey

_APART: Final = ("runserver", "test", "testserver")
"""Django's own servers, which are gateways of their own."""


@contextlib.contextmanager
def embedded_valkey(arguments: list[str], environment: MutableMapping[str, str]) -> Iterator[None]:
    """For servers: run a Valkey as long as the command, with its address in the environment's REDIS_URL. For other
    commands: the address of the one that a running gateway with the same database has started, if there is one.
    """
    command = "".join(arguments[1:2])
    if command == SERVE:
        _complete(environment)
    if command in SERVERS and _redis_url(environment) == EMBEDDED:
        with _started(environment):
            yield
        return
    if command not in (*SERVERS, *_APART) and _redis_url(environment) in ("", EMBEDDED):
        _join(environment)
    yield


@contextlib.contextmanager
def _started(environment: MutableMapping[str, str]) -> Iterator[None]:
    valkey = EmbeddedValkey()
    try:
        environment["REDIS_URL"] = valkey.start(_database(environment))
    except EmbeddedUnavailable as fault:
        raise ConfigurationFault([f"REDIS_URL: {fault}"]) from None
    try:
        yield
    finally:
        valkey.stop()


def _join(environment: MutableMapping[str, str]) -> None:
    """Use the Valkey of the running gateway."""
    url = running_valkey(_database(environment))
    if url is not None:
        environment["REDIS_URL"] = url


def _database(environment: Mapping[str, str]) -> str:
    """The digest of the database; empty in an invalid environment, all faults of which the settings will report."""
    try:
        return database_digest(locate(environment)[1])
    except ConfigurationFault:
        return ""


def _redis_url(environment: Mapping[str, str]) -> str:
    return environment.get("REDIS_URL", "").strip()


def _complete(environment: MutableMapping[str, str]) -> None:
    """Set a secret key that is kept in DATA_DIR, where other commands find it too, and Valkey if there is no other
    server.
    """
    if not environment.get("SECRET_KEY"):
        try:
            generated_secret(_state(environment))
        except OSError as error:
            raise ConfigurationFault(
                [f"DATA_DIR: {error.filename}: {error.strerror}; set it to a directory that you can write"]
            ) from None
    if "REDIS_URL" not in environment and supported():
        environment["REDIS_URL"] = EMBEDDED


def _state(environment: Mapping[str, str]) -> Path:
    """The state directory. Raises ConfigurationFault with all faults of the environment, not only those of its own."""
    try:
        return locate(environment)[0]
    except ConfigurationFault:
        read({**environment, "SECRET_KEY": "." * MIN_SECRET_KEY})
        raise


if __name__ == "__main__":  # for `make run`: the best REDIS_URL that needs no other server
    sys.stdout.write(EMBEDDED if supported() else "")
