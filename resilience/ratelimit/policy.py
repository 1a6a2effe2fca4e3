"""Rates such as `100/m`: a limit of requests and a window."""

import re
from typing import Final, Self

import msgspec

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_FORM: Final = re.compile(r"([0-9]{1,9})/([0-9]{0,4})([smhd])")

SLICES: Final = 60
"""Slices per window. They bound the memory per caller, whatever the limit."""


class RatePolicy(msgspec.Struct, frozen=True):
    """At most `limit` requests in any window of `window` seconds."""

    limit: int = 100
    window: float = 60.0

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError("a rate limit must allow at least 1 request")
        if not 0.001 <= self.window <= 86_400:
            raise ValueError("a rate limit's window must be from 1 ms to 1 day")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `100/m`, `10/s`, `5000/h` or `20/10s`. Raises ValueError for anything else."""
        form = _FORM.fullmatch(text.strip())
        if form is None:
            raise ValueError(f"{text!r} is not a rate such as 100/m, 10/s or 20/10s")
        limit, count, unit = form.groups()
        return cls(int(limit), float(count or 1) * _UNITS[unit])

    def __str__(self) -> str:
        return f"{self.limit}/{self.window:g}s"

    @property
    def block(self) -> int:
        """How many tokens a worker may take at once: 1 % of the limit, at least 1."""
        return max(1, self.limit // 100)
