"""A response body streamed from the backend to the client, recorded for the cache and reported when it ends."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from routing.errors import GatewayError
from routing.http import CLIENT_GONE, CLIENT_SECONDS, ClientGone


class Source(Protocol):
    """The source of the body, such as a BackendResponse."""

    @property
    def body(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


ChunkSink = Callable[[bytes], None]
OnComplete = Callable[[], Awaitable[None]]
EndListener = Callable[[int, str], None]


class Relay:
    """A stream that passes each chunk to `record` too. `length` is the announced length, if any.

    `client_timeout` is how long in seconds the client may take nothing of it, which its adapter observes.

    `complete` is awaited when the body is complete, before the client can know: if it sends the same request next, the
    response is already stored.
    """

    def __init__(
        self,
        source: Source,
        length: int | None,
        record: ChunkSink | None,
        complete: OnComplete | None,
        client_timeout: float = CLIENT_SECONDS,
    ) -> None:
        self.client_timeout = client_timeout
        self._source = source
        self._length = length
        self._record = record
        self._complete = complete
        self._end_listeners: list[EndListener] = []
        self._passed_bytes = 0
        self._open = True
        self._is_complete = False
        self.fault: GatewayError | None = None
        """The error that ended the body before it was complete."""

    received = 0
    """See metering.Transfer: all that the client sends is the request's body, which its upload counts."""

    @property
    def sent(self) -> int:
        """Bytes passed on so far."""
        return self._passed_bytes

    def on_end(self, listener: EndListener) -> None:
        """Call `listener` when the body ends: with the bytes passed on, and an error code if it is incomplete."""
        self._end_listeners.append(listener)

    def __aiter__(self) -> "Relay":
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._source.body)
        except StopAsyncIteration:
            await self._finish()
            await self._end("")
            raise
        except GatewayError as error:
            if not self._is_complete:
                self.fault = error
            await self._end(error.code)
            raise
        except ClientGone:
            await self._end(CLIENT_GONE)
            raise
        self._passed_bytes += len(chunk)
        if self._record:
            self._record(chunk)
        if self._passed_bytes == self._length:
            await self._finish()
        return chunk

    async def aclose(self) -> None:
        """Close the source. Before the end of the body, this means that the client has disconnected."""
        await self._end(CLIENT_GONE)

    async def _finish(self) -> None:
        self._is_complete = True
        complete, self._complete = self._complete, None
        if complete:
            await complete()

    async def _end(self, aborted: str) -> None:
        if not self._open:
            return
        self._open = False
        listeners, self._end_listeners = self._end_listeners, []  # which may refer to this relay
        for listener in listeners:
            listener(self._passed_bytes, "" if self._is_complete else aborted)
        await self._source.aclose()
