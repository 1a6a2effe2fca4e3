"""URLs that the gateway itself sends to."""

from urllib.parse import SplitResult, urlsplit


def split_http_url(text: str) -> SplitResult | None:
    """The parts of an absolute http or https URL; None for anything else. Raises nothing: an error could contain the
    URL, which may be secret.
    """
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_valid and text.isascii() and text.isprintable() and " " not in text else None
