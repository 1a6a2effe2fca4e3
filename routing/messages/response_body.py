"""An answer's body on its way to the client: passed on as it comes, recorded for the cache, accounted for after."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from routing.errors import GatewayError


class Source(Protocol):
    """Where the body comes from: routing.backend.Answer."""

    @property
    def body(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


ChunkSink = Callable[[bytes], None]
OnComplete = Callable[[], Awaitable[None]]
EndListener = Callable[[int, str], None]


class Relay:
    """`complete` is awaited when the body is whole, before the client can know that it is: one that asks again at
    once finds it stored. `length` is the body's, where the backend has said it.
    """

    def __init__(
        self, source: Source, length: int | None, record: ChunkSink | None, complete: OnComplete | None
    ) -> None:
        self._source = source
        self._length = length
        self._record = record
        self._complete = complete
        self._listeners: list[EndListener] = []
        self._passed = 0
        self._open = True
        self._is_whole = False

    def on_end(self, listener: EndListener) -> None:
        """Call `listener` once the body is over, with the bytes passed on and why it stopped short, if it did."""
        self._listeners.append(listener)

    def __aiter__(self) -> "Relay":
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._source.body)
        except StopAsyncIteration:
            await self._whole()
            await self._end("")
            raise
        except GatewayError as error:
            await self._end(error.code)
            raise
        self._passed += len(chunk)
        if self._record:
            self._record(chunk)
        if self._passed == self._length:
            await self._whole()
        return chunk

    async def aclose(self) -> None:
        """Let go of the backend. Before the end, this is the client having gone."""
        await self._end("client_gone")

    async def _whole(self) -> None:
        self._is_whole = True
        complete, self._complete = self._complete, None
        if complete:
            await complete()

    async def _end(self, aborted: str) -> None:
        if not self._open:
            return
        self._open = False
        for listener in self._listeners:
            listener(self._passed, "" if self._is_whole else aborted)
        await self._source.aclose()
