"""REDIS_URL, and the default of REDIS_PREFIX that follows from it."""

from typing import Final

from resilience import redis_address
from resilience.redis_address import DEFAULT_PREFIX, SCHEMES

EMBEDDED: Final = "embedded"


def parse(text: str) -> str:
    """Raises ValueError."""
    if text != EMBEDDED:
        if "://" not in text:
            raise ValueError(f"must be `{EMBEDDED}` or a URL with one of the schemes {', '.join(SCHEMES)}")
        redis_address.parse(text)
    return text


def default_prefix(url: str | None) -> str:
    return DEFAULT_PREFIX if url is None or url == EMBEDDED else redis_address.parse(url).default_prefix
