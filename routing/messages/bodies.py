"""Reading of a whole body: to keep it, up to a limit, or only to its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from math import inf

from routing.http import Body, Response


async def read_up_to(body: Body, limit: float = inf, deadline: float = inf) -> tuple[list[bytes], bool]:
    """The chunks of a body, and whether that is all of it.

    The chunk that makes them more than `limit` bytes, or that is received after `deadline` in the event loop's time, is
    the last; the body can be read on from there.
    """
    chunks, size, clock = list[bytes](), 0, asyncio.get_running_loop().time
    async for chunk in body:
        chunks.append(chunk)
        size += len(chunk)
        if size > limit or clock() > deadline:
            return chunks, False
    return chunks, True


async def resumed(chunks: Iterable[bytes], rest: Body | None = None) -> AsyncIterator[bytes]:
    """A body from its start: what has been read of it, and then the rest."""
    for chunk in chunks:
        yield chunk
    if rest is not None:
        async for chunk in rest:
            yield chunk


async def drain(response: Response, is_needed: Callable[[], bool] = lambda: True) -> None:
    """Read the body to its end, since it is stored as it is read; close it early once it is no longer needed."""
    if isinstance(response.body, bytes):
        return
    async with contextlib.aclosing(response.body) as chunks:
        async for _ in chunks:
            if not is_needed():
                return
