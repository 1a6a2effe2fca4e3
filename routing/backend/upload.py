"""Writing of a request body to a target, in either framing."""

from collections.abc import Awaitable, Callable
from typing import Final

from routing.backend.encoding import LAST_CHUNK, encode_chunk
from routing.errors import BadRequest
from routing.http import Body

LENGTH_MISMATCH: Final = "The request body's length differs from its Content-Length."


async def write_body(
    body: Body, length: int | None, write: Callable[[bytes], Awaitable[None]], drain: Callable[[], Awaitable[None]]
) -> None:
    """Write `body`: in chunks, or `length` bytes. Raises BadRequest if it has another length, or what `body` raises."""
    if length is None:
        async for data in body:
            if data:
                await write(encode_chunk(data))
                await drain()
        await write(LAST_CHUNK)
    elif length:
        await _write_bytes(body, length, write, drain)


async def _write_bytes(
    body: Body, remaining: int, write: Callable[[bytes], Awaitable[None]], drain: Callable[[], Awaitable[None]]
) -> None:
    """Return without waiting for the iterator's end: the response may arrive before it."""
    async for data in body:
        remaining -= len(data)
        if remaining < 0:
            break
        await write(data)
        if not remaining:
            return
        await drain()
    raise BadRequest(LENGTH_MISMATCH)
