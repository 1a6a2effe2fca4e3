"""Collects what receivers of signals write for each changed row, so that many rows need few statements."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

T = TypeVar("T")
Write = Callable[[list[T]], object]

_collected: Final[ContextVar[dict[Write[Any], list[Any]] | None]] = ContextVar("collected", default=None)


@contextmanager
def deferred_writes() -> Iterator[None]:
    """Make the calls of `defer` in the block at its end, one for each function. It must be in a transaction: an error
    in the block discards them.
    """
    if _collected.get() is not None:
        yield  # the outer block makes them
        return
    collected: dict[Write[Any], list[Any]] = {}
    token = _collected.set(collected)
    try:
        yield
    finally:
        _collected.reset(token)
    for write, items in collected.items():
        write(items)


def defer(write: Write[T], item: T) -> None:
    """Call `write` with `item`, and with the others of the block if there is one. `write` is a module's function."""
    collected = _collected.get()
    if collected is None:
        write([item])
    else:
        collected.setdefault(write, []).append(item)
