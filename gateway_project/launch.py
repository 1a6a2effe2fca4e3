"""Runs before Django reads its settings: starts the private Valkey for `REDIS_URL=embedded`, and completes the
environment of `serve`.
"""

import contextlib
import sys
from collections.abc import Iterator, MutableMapping

from gateway_project.config import ConfigurationFault, state_directory
from gateway_project.environment.generated_secrets import generated_secret
from gateway_project.environment.redis_server import EMBEDDED
from gateway_project.logs.capture import SERVE, SERVERS
from gateway_project.server.embedded import EmbeddedUnavailable, EmbeddedValkey, supported


@contextlib.contextmanager
def embedded_valkey(arguments: list[str], environment: MutableMapping[str, str]) -> Iterator[None]:
    """Run a Valkey for as long as a server's command runs, with its address in the environment's REDIS_URL."""
    if arguments[1:2] == [SERVE]:
        _complete(environment)
    if arguments[1:2] not in [[name] for name in SERVERS] or environment.get("REDIS_URL", "").strip() != EMBEDDED:
        yield
        return
    valkey = EmbeddedValkey()
    try:
        environment["REDIS_URL"] = valkey.start()
    except EmbeddedUnavailable as fault:
        raise ConfigurationFault([f"REDIS_URL: {fault}"]) from None
    try:
        yield
    finally:
        valkey.stop()


def _complete(environment: MutableMapping[str, str]) -> None:
    """Set a secret key that is kept in DATA_DIR, where other commands find it too, and Valkey if there is no other
    server.
    """
    if not environment.get("SECRET_KEY"):
        try:
            generated_secret(state_directory(environment))
        except OSError as error:
            raise ConfigurationFault(
                [f"DATA_DIR: {error.filename}: {error.strerror}; set it to a directory that you can write"]
            ) from None
    if "REDIS_URL" not in environment and supported():
        environment["REDIS_URL"] = EMBEDDED


if __name__ == "__main__":  # for `make run`: the best REDIS_URL that needs no other server
    sys.stdout.write(EMBEDDED if supported() else "")
