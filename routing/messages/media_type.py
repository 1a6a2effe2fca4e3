"""Which bodies are JSON."""

import re
from typing import Final

_JSON: Final = re.compile(r"application/(?:[a-z0-9.!#$&^_-]+\+)?json|text/json", re.IGNORECASE)
_UNSPECIFIED: Final = ("", "application/x-www-form-urlencoded")
"""The second is what `curl -d` sends unless it is given a type."""


def is_json(content_type: bytes | None) -> bool:
    """Whether a body with this Content-Type is JSON by its own account."""
    return content_type is not None and _JSON.fullmatch(_essence(content_type.decode("latin-1"))) is not None


def may_be_json(content_type: str) -> bool:
    """Whether a body that one of the gateway's own endpoints receives may be JSON: not if it claims another type."""
    media_type = _essence(content_type)
    return media_type.lower() in _UNSPECIFIED or _JSON.fullmatch(media_type) is not None


def _essence(content_type: str) -> str:
    """The media type without parameters."""
    return content_type.partition(";")[0].strip()
