"""An event loop whose time advances only when nothing is left to do, so that days of waiting take no real time."""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`time` begins at 0. It is for code that waits for timers and for itself: nobody else can wake it up."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds


class _Selector(selectors.BaseSelector):
    """Instead of waiting until a timer is due, lets that time pass."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._selector = selectors.DefaultSelector()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Raises RuntimeError if nothing would ever happen again."""
        if timeout is None:
            raise RuntimeError("all tasks wait for each other")
        if timeout > 0:
            self._loop.advance(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._selector.get_map()

    def close(self) -> None:
        self._selector.close()
