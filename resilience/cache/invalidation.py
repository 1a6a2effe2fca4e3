"""What a change takes back: the URI it was made to, those it names, and groups (RFC 9111 section 4.4, RFC 9875)."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final
from urllib.parse import urljoin, urlsplit

from resilience.cache import fields
from resilience.cache.fields import Header

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods after which nothing is taken back (RFC 9110 section 9.2.1). An unknown method may change anything."""


def uri_tag(path: bytes, query: bytes) -> str:
    """The tag of all that is stored for one of a service's URIs, whoever's it is."""
    digest = blake2b(b"%d:%b%b" % (len(path), path, query), digest_size=12).hexdigest()
    return f"uri:{digest}"


def invalidates(method: str, status: int) -> bool:
    """Has this call changed something: an unsafe method that did not fail (RFC 9111 section 4.4)?"""
    return method not in SAFE and 200 <= status < 400


def invalidated_tags(path: bytes, query: bytes, headers: Sequence[Header], prefix: bytes) -> set[str]:
    """The tags of what an answer to an unsafe method, made to this URI, declares out of date.

    `headers` are as the client gets them: references into the backend are paths under `prefix`, and those to any
    other place, which it has no say in, are not (RFC 9111 section 4.4).
    """
    tags = {uri_tag(path, query)}
    for name in (b"location", b"content-location"):
        tags.update(_referred(value, path, prefix) for value in fields.values(headers, name))
    tags.discard("")
    return tags | fields.groups(fields.values(headers, b"cache-group-invalidation"))


def _referred(reference: bytes, path: bytes, prefix: bytes) -> str:
    """The tag of a reference of the same origin; empty for any other."""
    try:
        base = (prefix + path).decode("latin-1")
        parts = urlsplit(urljoin(base, reference.decode("latin-1").strip()))
    except ValueError:
        return ""
    full = parts.path.encode("latin-1")
    if parts.scheme or parts.netloc or not full.startswith(prefix + b"/"):
        return ""
    return uri_tag(full[len(prefix) :], parts.query.encode("latin-1"))
