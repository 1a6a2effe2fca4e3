"""Announces saved changes to the running workers, so that they reload at once and not only at their next poll.

A worker sends it over its link to Redis. A process in which no gateway runs, such as a management command, has no link,
and sends it with a connection of its own.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from django.conf import settings

from resilience.redis_address import parse
from resilience.redis_client import FAILURES, connect_blocking
from routing import signals

CONFIGURATION: Final = "configuration"
"""The Redis channel that announces a saved change."""
CHANGED: Final = b"changed"
SEND_SECONDS: Final = 0.3
"""How long a change waits for Redis. A worker's own poll is not much later."""
PAUSE_SECONDS: Final = 30.0
"""After a failure, a process does not announce for this long: a command may save many changes."""


class Announcer:
    """Announces changes by `send`, which may raise any of FAILURES. Never fails, and waits SEND_SECONDS at most.

    `clock` is monotonic.
    """

    def __init__(self, send: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._failed_at: float | None = None

    def announce(self, **_: object) -> None:
        """A receiver of `configuration_changed`. Without Redis, workers find the change at their next poll."""
        if self._failed_at is not None and self._clock() - self._failed_at < PAUSE_SECONDS:
            return
        attempt = _Attempt(self._send)
        # A thread, since looking up a name has no time limit; a daemon, so that the process does not wait for it.
        threading.Thread(target=attempt.run, name="announcement", daemon=True).start()
        attempt.ended.wait(SEND_SECONDS)
        self._failed_at = None if attempt.succeeded else self._clock()


class _Attempt:
    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self.ended = threading.Event()
        self.succeeded = False

    def run(self) -> None:
        try:
            self._send()
            self.succeeded = True
        except FAILURES:
            return
        finally:
            self.ended.set()


def publish() -> None:
    """Send the message to all workers, if they have Redis. Blocks; raises one of FAILURES."""
    url = settings.CONFIG.redis_server
    if url is not None:
        with closing(connect_blocking(parse(url), SEND_SECONDS)) as client:
            client.publish(f"{settings.CONFIG.redis_prefix}:{CONFIGURATION}", CHANGED)


def announce_changes() -> None:
    """Announce what this process saves, until a gateway is opened in it, which announces by its link."""
    receiver = Announcer(publish).announce
    signals.configuration_changed.connect(receiver, weak=False, dispatch_uid=signals.ANNOUNCER)
