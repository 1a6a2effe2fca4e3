"""Which bodies the gateway's own endpoints read as JSON."""

import re
from typing import Final

_JSON: Final = re.compile(r"application/(?:[a-z0-9.!#$&^_-]+\+)?json|text/json", re.IGNORECASE)
_UNSPECIFIED: Final = ("", "application/x-www-form-urlencoded")
"""The second is what `curl -d` sends unless it is given a type."""


def may_be_json(content_type: str) -> bool:
    """Whether a body with this Content-Type may be JSON. It is not when it claims to be something else."""
    media_type = content_type.partition(";")[0].strip()
    return media_type.lower() in _UNSPECIFIED or _JSON.fullmatch(media_type) is not None
