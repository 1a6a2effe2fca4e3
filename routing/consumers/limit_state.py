"""What remains of a limit."""

from typing import NamedTuple


class LimitState(NamedTuple):
    """A limit that applies to a request, as its RateLimit fields report it: in requests and seconds.

    `remaining` is None where it is not known, since the limit was not checked.
    """

    name: str
    limit: int
    window: int
    remaining: int | None
    reset: int
