"""The media ranges of an Accept field (RFC 9110 section 12.5.1). Pure."""

import re
from typing import Final

MAX_RANGES: Final = 64
"""Ranges that are read of one field."""
MAX_PARAMETERS: Final = 64
"""Parameters that are read of one range."""
_WEIGHT: Final = re.compile(r"0?(?:\.\d*)?|1(?:\.0*)?")
"""RFC 9110 section 12.4.2, with any number of digits."""


def media_ranges(accept: str) -> dict[str, float]:
    """The weight of each range, from 0 to 1; 0 for one that is malformed. Names are in lower case."""
    found: dict[str, float] = {}
    for part in accept.lower().split(",", MAX_RANGES)[:MAX_RANGES]:
        media, *parameters = (piece.strip() for piece in part.split(";", MAX_PARAMETERS + 1))
        found[media] = max(found.get(media, 0.0), _weight(parameters[:MAX_PARAMETERS]))
    return found


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = (piece.strip() for piece in parameter.partition("="))
        if name == "q":
            return float(value) if any(map(str.isdigit, value)) and _WEIGHT.fullmatch(value) else 0.0
    return 1.0
