"""How long a target keeps an idle connection open, by its `Keep-Alive` field (RFC 2068 section 19.7.1.1)."""

import re
from math import inf
from typing import Final

MARGIN_SECONDS: Final = 1.0
"""A connection is given up so much earlier than the target closes it: a request sent at that moment would be lost."""
_TIMEOUT: Final = re.compile(rb'(?:^|[,; \t])timeout[ \t]*=[ \t]*"?([0-9]{1,9})', re.IGNORECASE)


def idle_limit(value: bytes) -> float:
    """For how many seconds a connection may be idle and still be used; infinity if the target does not say.

    Of a short time half is used. Node.js sends `timeout=5`, Apache `timeout=5, max=100`.
    """
    found = _TIMEOUT.search(value)
    if found is None:
        return inf
    seconds = float(found[1])
    return max(seconds - MARGIN_SECONDS, seconds / 2)
