"""An object in a process of its own, whose methods this process calls."""

import asyncio
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final

import uvloop

_CONTEXT: Final = get_context("spawn")
_STOP_SECONDS: Final = 10.0


class Remote:
    """What `factory` makes of `arguments`, in a new process. Its methods are coroutine functions."""

    def __init__(self, factory: Callable[..., Any], *arguments: Any) -> None:
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(factory, arguments, theirs), daemon=True)
        self._process.start()

    def call(self, method: str, *arguments: Any) -> Any:
        """What the method returns. Raises RuntimeError for an exception in it."""
        self.begin(method, *arguments)
        return self.result()

    def begin(self, method: str, *arguments: Any) -> None:
        """Call the method, and do not wait for its result."""
        self._connection.send((method, arguments))

    def result(self) -> Any:
        """Of the call that was begun first."""
        fault, result = self._connection.recv()
        if fault:
            raise RuntimeError(fault)
        return result

    def close(self) -> None:
        """Call the method `close`, and end the process."""
        self.call("close")
        self._connection.send(None)
        self._process.join(_STOP_SECONDS)


def _serve(factory: Callable[..., Any], arguments: tuple[Any, ...], connection: Connection) -> None:
    uvloop.run(_execute(factory, arguments, connection))


async def _execute(factory: Callable[..., Any], arguments: tuple[Any, ...], connection: Connection) -> None:
    made = factory(*arguments)
    while (message := await asyncio.to_thread(connection.recv)) is not None:
        method, words = message
        try:
            connection.send(("", await getattr(made, method)(*words)))
        except Exception as error:  # noqa: BLE001 - reported to the parent
            connection.send((repr(error), None))
