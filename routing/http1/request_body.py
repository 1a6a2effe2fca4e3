"""A request's body on its way in: as it comes, no faster than it is read, and let go of when nobody wants it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from routing.http import ClientGone

HIGH_WATER: Final = 65_536
"""Bytes that may wait to be read before the client is made to wait."""


class RequestBody:
    """`length` is what was told of it, if it was. `pause` and `resume` hold the client back and let it go on; `invite`
    asks one for its body that waits to be asked (RFC 9110 section 10.1.1).
    """

    def __init__(
        self,
        length: int | None,
        *,
        pause: Callable[[], None],
        resume: Callable[[], None],
        invite: Callable[[], None] | None,
    ) -> None:
        self.whole = False
        self._lost = False
        self._left = length
        self._pause = pause
        self._resume = resume
        self._invite = invite
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._unwanted = False
        self._news: asyncio.Future[None] | None = None

    @property
    def is_near_its_end(self) -> bool:
        """Whether it is quicker to let the rest come, unread, than to have the client connect anew."""
        if self.whole or self._lost or self._invite is not None:
            return self.whole
        return self._left is not None and self._left <= HIGH_WATER

    def feed(self, piece: bytes) -> None:
        if self._left is not None:
            self._left -= len(piece)
        if self._unwanted:
            return
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > HIGH_WATER:
            self._pause()
        self._tell()

    def end(self) -> None:
        """It has come whole."""
        self.whole = True
        self._tell()

    def lose(self) -> None:
        """The rest will not come: the client has gone, or broke the rules of framing."""
        self._lost = True
        self._tell()

    def discard(self) -> None:
        """Nobody reads on; what still comes is dropped."""
        self._unwanted = True
        self._pieces.clear()
        self._waiting = 0
        self._resume()

    async def next(self) -> bytes:
        """What has come since the last time; nothing when that was the end. Raises ClientGone."""
        if self._invite is not None:
            invite, self._invite = self._invite, None
            invite()
        while not self._pieces:
            if self.whole:
                return b""
            if self._lost:
                raise ClientGone
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._waiting = 0
        self._resume()
        return data

    async def read(self) -> AsyncIterator[bytes]:
        """The pieces as they come. Raises ClientGone when it ends before it is whole."""
        while piece := await self.next():
            yield piece

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)
