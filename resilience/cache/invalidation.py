"""Invalidation: by unsafe requests of the target URI, of URIs in the response, and of cache groups (RFC 9111 section
4.4, RFC 9875); and the fences that keep responses fetched before it from being stored after it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final
from urllib.parse import urljoin, urlsplit

from resilience.cache import fields
from resilience.cache.fields import Header

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"})
"""Safe methods (RFC 9110 section 9.2.1, RFC 4918 section 9.1, RFC 3253 section 3.6, RFC 5323 section 2). An unknown
method counts as unsafe.
"""


MAX_REFERENCE_BYTES: Final = 16 * 1_024


def uri_tag(path: bytes, query: bytes) -> str:
    """The tag of all responses stored for one of a service's URIs, whichever caller they are for.

    `path` is in the form that all its spellings share.
    """
    digest = blake2b(b"%d:%b%b" % (len(path), path, query), digest_size=12).hexdigest()
    return f"uri:{digest}"


def invalidates(method: str, status: int) -> bool:
    """Whether a response invalidates: a non-error response to an unsafe method (RFC 9111 section 4.4)."""
    return method not in SAFE_METHODS and 200 <= status < 400


def invalidated_tags(
    path: bytes,
    query: bytes,
    headers: Sequence[Header],
    prefix: bytes,
    normalized: Callable[[bytes], bytes] = bytes,
    *,
    spellings: Callable[[bytes], Iterable[bytes]] = lambda query: (query,),
) -> set[str]:
    """The tags that the response to an unsafe request for this URI invalidates.

    `headers` are as sent to the client: URIs of the backend are under `prefix`, a URL or its path. URIs of other
    origins are ignored (RFC 9111 section 4.4). `normalized` returns the form of a path that all its spellings share,
    and `spellings` the queries under which the response to one may be stored.
    """
    uris = {(path, query)}
    for name in (b"location", b"content-location"):
        for value in fields.values(headers, name):
            uris |= _referenced(value, path, prefix)
    tags = {uri_tag(normalized(path), spelling) for path, query in uris for spelling in spellings(query)}
    return tags | fields.groups(fields.values(headers, b"cache-group-invalidation"))


def _referenced(reference: bytes, path: bytes, prefix: bytes) -> set[tuple[bytes, bytes]]:
    """The path and query of a same-origin URI reference; none for any other, or if it is too long to be requested."""
    if len(reference) > MAX_REFERENCE_BYTES:
        return set()
    try:
        base = (prefix + path).decode("latin-1")
        parts = urlsplit(urljoin(base, reference.decode("latin-1").strip()))
        root = urlsplit(prefix.decode("latin-1"))
    except ValueError:
        return set()
    is_own = (parts.scheme, parts.netloc) == (root.scheme, root.netloc)
    if not is_own or not (parts.path + "/").startswith(root.path + "/"):
        return set()
    return {(parts.path[len(root.path) :].encode("latin-1"), parts.query.encode("latin-1"))}


MAX_FENCED_TAGS: Final = 4_096
"""Tags remembered per service. Beyond it the oldest is dropped and the floor is raised to its number: responses fetched
since before the floor are then refused whatever their tags. That is safe, and rare: this many tags must be invalidated
during one fetch.
"""


class Fences:
    """One service's invalidations, numbered per tag: with one number for all, no response that takes longer than the
    time between two invalidations of any tag would ever be stored.
    """

    __slots__ = ("_floor", "_tags", "latest")

    def __init__(self) -> None:
        self.latest = 0
        self._floor = 0
        self._tags: OrderedDict[str, int] = OrderedDict()

    def record(self, tag: str, seq: int) -> None:
        """Note that `tag` was invalidated at number `seq`."""
        self.latest = max(self.latest, seq)
        self._tags[tag] = max(seq, self._tags.pop(tag, 0))
        if len(self._tags) > MAX_FENCED_TAGS:
            self._floor = max(self._floor, self._tags.popitem(last=False)[1])

    def allows(self, tags: Iterable[str], seq: int) -> bool:
        """Whether a response with these tags, whose fetch began at number `seq`, may be stored."""
        if seq >= self.latest:
            return True
        return seq >= self._floor and all(self._tags.get(tag, 0) <= seq for tag in tags)
