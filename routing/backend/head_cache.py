"""An answer's head as it came, and those that came before: the same bytes are the same head, and are parsed once.

A backend's answers are often alike for a second, as long as their Date is: to many who ask for one thing, with one
failure, that nothing is there.
"""

from typing import Any, Final

from resilience.memo import TwoGenerationMemo
from routing.http import Headers

MAX_HEAD_BYTES: Final = 2_048
"""Bytes of a head that is remembered: what all of them take is bounded by this."""
GENERATION_SIZE: Final = 256
"""Heads in one generation of two."""
END: Final = b"\r\n\r\n"


class ResponseHead:
    """Of an answer whose body is as long as it says, and which leaves its connection to the next.

    Answers with the same head share its `headers`, which nobody changes, and what is `alike` of them: what clients are
    told of it, with the target and the prefix that depends on.
    """

    __slots__ = ("client_headers", "headers", "length", "status")

    def __init__(self, status: int, headers: Headers, length: int) -> None:
        self.status = status
        self.headers = headers
        self.length = length
        self.client_headers: tuple[Any, bytes, Headers] | None = None


class ResponseHeadCache:
    """One process's memory."""

    def __init__(self) -> None:
        self._known: TwoGenerationMemo[bytes, ResponseHead] = TwoGenerationMemo(GENERATION_SIZE)

    def of(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """The head that `data` begins with, and the whole body behind it, if they are one answer and no more."""
        end = data.find(END) + len(END)
        head = self._known.get(data[:end])
        return (head, data[end:]) if head is not None and len(data) == end + head.length else None

    def put(self, data: bytes, head: ResponseHead) -> None:
        """Remember what a whole answer begins with, if no interim one came before it."""
        end = len(data) - head.length
        if end <= MAX_HEAD_BYTES and data.find(END) + len(END) == end:
            self._known.put(data[:end], head)
