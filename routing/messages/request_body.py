"""A request's body on its way to a backend: within its bound, and kept while it is small, so that it can go again."""

from collections.abc import AsyncGenerator
from typing import Final

from routing.errors import BodyTooLarge
from routing.http import Body

KEPT_BYTES: Final = 64 * 1024
"""A body larger than this is sent once: what keeps it is every call's memory."""


class Upload:
    """`keep` says whether repeating the request would do no harm; `repeatable`, whether its body still allows it."""

    def __init__(self, body: Body, *, limit: int, service: str, keep: bool) -> None:
        self.replayable = keep
        self._body = body
        self._limit = limit
        self._service = service
        self._kept: list[bytes] = []
        self._size = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body from its beginning: what is kept, then what is still to come. Raises BodyTooLarge."""
        for kept in list(self._kept):
            yield kept
        while (piece := await self._next()) is not None:
            yield piece

    async def _next(self) -> bytes | None:
        try:
            piece = await anext(self._body)
        except StopAsyncIteration:
            return None
        except BaseException:  # cut in the middle of a piece, the source cannot go on from there
            self._give_up()
            raise
        self._size += len(piece)
        if self._size > self._limit:
            self._give_up()
            raise BodyTooLarge(f"the body is over {self._limit} bytes", service=self._service)
        if self._size > KEPT_BYTES:
            self._give_up()
        if self.replayable:
            self._kept.append(piece)
        return piece

    def _give_up(self) -> None:
        self.replayable = False
        self._kept.clear()
