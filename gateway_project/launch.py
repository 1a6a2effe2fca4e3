"""Runs before Django reads its settings: starts the private Valkey for `REDIS_URL=embedded`."""

import contextlib
import sys
from collections.abc import Iterator, MutableMapping

from gateway_project.config import EMBEDDED, ConfigurationFault
from gateway_project.server.embedded import EmbeddedUnavailable, EmbeddedValkey, supported


@contextlib.contextmanager
def embedded_valkey(arguments: list[str], environment: MutableMapping[str, str]) -> Iterator[None]:
    """For `rungateway` only: run a Valkey as long as the command, with its address in the environment's REDIS_URL."""
    if arguments[1:2] != ["rungateway"] or environment.get("REDIS_URL", "").strip() != EMBEDDED:
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


if __name__ == "__main__":  # for `make run`: the best REDIS_URL that needs no other server
    sys.stdout.write(EMBEDDED if supported() else "")
