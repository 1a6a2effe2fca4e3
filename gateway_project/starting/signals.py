"""Signals that arrive before the supervisor handles them."""

import signal
import sys
from types import FrameType


def begin_start() -> None:
    """End the process at SIGTERM, which process 1 of a container would ignore without a handler, and ignore SIGHUP: a
    reload during the start has nothing to renew. With a terminal as input SIGHUP means that it has been closed.
    """
    signal.signal(signal.SIGTERM, _exit)
    if sys.stdin is None or not sys.stdin.isatty():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
