"""A cache of parsed response heads, keyed by their exact bytes.

A backend often sends identical heads within the second for which its Date field is the same, for instance when many
clients request one resource or receive the same error.
"""

from math import inf
from typing import Any, Final

from resilience.memo import TwoGenerationMemo
from routing.http import Headers

MAX_HEAD_BYTES: Final = 2_048
"""Heads over this size are not cached, which bounds the memory of all."""
GENERATION_SIZE: Final = 256
"""Heads in each of the memo's two generations."""
END: Final = b"\r\n\r\n"


class ResponseHead:
    """The head of a response with a Content-Length on a persistent connection.

    Responses with the same head share its `headers`, which must not be modified, and `client_headers`: the target,
    the path prefix and the sandbox that they were last rewritten for, and the fields for the client.
    Heads with references or cookies have none.
    """

    __slots__ = ("client_headers", "headers", "idle_limit", "length", "status")

    def __init__(self, status: int, headers: Headers, length: int, idle_limit: float = inf) -> None:
        self.status = status
        self.headers = headers
        self.length = length
        self.idle_limit = idle_limit
        self.client_headers: tuple[Any, tuple[bytes, bool], Headers] | None = None


class ResponseHeadCache:
    """The heads of one process."""

    def __init__(self) -> None:
        self._memo: TwoGenerationMemo[bytes, ResponseHead] = TwoGenerationMemo(GENERATION_SIZE)

    def exact(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """The cached head and the body, if `data` is exactly one response with that head; otherwise None."""
        end = data.find(END) + len(END)
        head = self._memo.get(data[:end])
        return (head, data[end:]) if head is not None and len(data) == end + head.length else None

    def put(self, data: bytes, head: ResponseHead) -> None:
        """Cache the head of `data`, one complete response, unless interim responses precede it."""
        end = len(data) - head.length
        if end <= MAX_HEAD_BYTES and data.find(END) + len(END) == end:
            self._memo.put(data[:end], head)
