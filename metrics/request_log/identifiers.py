"""Ids of requests and of API keys as people paste them: with quotes, names and punctuation around them. Pure."""

import re
from typing import Final

_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,128}")
"""What may be the id of a request: a shorter one would be looked up with each key that is pressed."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_AROUND: Final = " \t\r\n\"'`,;"
_KEY: Final = re.compile(r"(?:key:|gw_)([a-z0-9]+)(?:_.*)?", re.IGNORECASE | re.DOTALL)


def id_in(text: str) -> str:
    """The text itself if it may be an id, or else the first UUID in it, such as that of a problem document or of a line
    of a log. Empty if there is none.
    """
    text = text.strip(_AROUND)
    if _ID.fullmatch(text) is not None:
        return text
    found = _UUID.search(text)
    return found[0] if found else ""


def key_prefix(text: str) -> str:
    """The prefix in `key:PREFIX`, which names a caller, and in a key itself; any other text as it is."""
    found = _KEY.fullmatch(text)
    return found[1] if found else text
