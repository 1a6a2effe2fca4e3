"""References and cookies of a backend's response, for the client: where the client sees the backend's paths."""

import re
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

_LINK_TARGET: Final = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|<([^<>"]*)>')
"""A quoted parameter, also one that does not end, or a link's target (RFC 8288 section 3)."""
_ABSOLUTE: Final = re.compile(rb"https?://", re.IGNORECASE)
MAX_COOKIE_ATTRIBUTES: Final = 32
"""Further ones are dropped: this bounds the time to read them."""
_REFRESH: Final = re.compile(rb"([ \t]*[0-9.]+[ \t]*[;,][ \t]*url[ \t]*=[ \t]*[\"']?)([^\"' \t]*)(.*)", re.IGNORECASE)
_HOST_COOKIE: Final = b"__host-"
"""Cookies of this prefix must have `Path=/` (RFC 6265bis section 4.1.3.2)."""


class PublicAddress(NamedTuple):
    """Where the client sees a service: `prefix` before its paths, empty on a host of its own.

    `host` and `scheme` are the request's, which the backend may have learned; `path` is its path within the service.
    """

    prefix: bytes
    host: bytes = b""
    scheme: str = "http"
    path: bytes = b""

    @property
    def url(self) -> bytes:
        """The prefix as a URL; as a path, if the host is not known."""
        return b"%b://%b%b" % (self.scheme.encode(), self.host, self.prefix) if self.host else self.prefix


def rewrite_reference(reference: bytes, target: str, public: PublicAddress) -> bytes:
    """A URI reference to what the service has, as the client reaches it; any other one unchanged.

    `target` is the URL that was called. References are to the service if they have the target's origin, the client's
    host, which a backend may know from X-Forwarded-Host, or none, and a path within the target's. A path outside the
    target's is returned as it is, without the origin: no path of the gateway leads there, and the target's address is
    not disclosed. Paths that begin with the prefix are the work of a backend that knows it from
    X-Forwarded-Prefix.
    """
    try:
        parts = urlsplit(reference.decode("latin-1"))
        base, host = urlsplit(target), urlsplit("//" + public.host.decode("latin-1"))
        is_public = _has_host(parts, host, None)
        if not (is_public or _has_host(parts, base, base.scheme) or _is_absolute_path(parts)):
            return reference
    except ValueError:
        return reference
    path = _public_path((parts.path or "/").encode("latin-1"), base.path.encode(), public)
    if path.startswith((b"//", b"/\\")):
        path = b"/." + path  # not a reference to another host (URL standard, "URL serializing")
    rest = parts._replace(scheme="", netloc="", path="").geturl().encode("latin-1")
    upgrade = is_public and (parts.scheme, public.scheme) == ("https", "http")  # the point of such a redirect
    return (b"https://" + parts.netloc.encode("latin-1") if upgrade else b"") + path + rest


def rewrite_absolute(reference: bytes, target: str, public: PublicAddress) -> bytes:
    """The same, absolute if it was: where an upload is continued, or the next page is.

    Clients resolve a redirect's reference, and many of them no other.
    """
    rewritten = rewrite_reference(reference, target, public)
    if public.host and rewritten.startswith(b"/") and _ABSOLUTE.match(reference):
        return b"%b://%b%b" % (public.scheme.encode(), public.host, rewritten)
    return rewritten


def rewrite_links(value: bytes, target: str, public: PublicAddress) -> bytes:
    """A Link field with the targets of its links rewritten: clients follow them, to the next page for instance."""

    if b"<" not in value:
        return value

    def rewrite(link: "re.Match[bytes]") -> bytes:
        return link[0] if link[1] is None else b"<%b>" % rewrite_absolute(link[1], target, public)

    return _LINK_TARGET.sub(rewrite, value)


def rewrite_refresh(value: bytes, target: str, public: PublicAddress) -> bytes:
    """A Refresh field: `5; url=/login/`."""
    parts = _REFRESH.fullmatch(value)
    return value if parts is None else parts[1] + rewrite_reference(parts[2], target, public) + parts[3]


def rewrite_cookie(value: bytes, target: str, public: PublicAddress) -> bytes:
    """A Set-Cookie field: its Path as the client sees it, without a Domain that is the target's and not the client's.

    A cookie for all paths of a backend is for all paths of its service, and not sent to other services.
    """
    pair, *attributes = value.split(b";", MAX_COOKIE_ATTRIBUTES + 1)[: MAX_COOKIE_ATTRIBUTES + 1]
    kept = [pair]
    for attribute in attributes:
        name, _, text = attribute.partition(b"=")
        match name.strip().lower(), text.strip():
            case b"path", path if path.startswith(b"/") and not pair.strip().lower().startswith(_HOST_COOKIE):
                kept.append(b" Path=" + _cookie_path(path, urlsplit(target).path.encode(), public))
            case b"domain", domain if _is_domain_of_target(domain, target, public):
                continue
            case _:
                kept.append(attribute)
    return b";".join(kept)


def _public_path(path: bytes, base: bytes, public: PublicAddress) -> bytes:
    root, prefix = base.rstrip(b"/"), public.prefix
    if prefix and _is_within(path, prefix) and not _is_within(public.path, prefix):
        return path
    if root and not _is_within(path, root):
        return path
    return prefix + path[len(root) :] or b"/"


def _cookie_path(path: bytes, base: bytes, public: PublicAddress) -> bytes:
    """Where a cookie's path covers all of the target's, all of the service's paths are meant.

    A path beside the target's stays below the service's too: it may be that of another service, or of staff's pages.
    """
    if _is_within(base.rstrip(b"/") or b"/", path.rstrip(b"/")):
        return public.prefix or b"/"
    found = _public_path(path, base, public)
    return found if _is_within(found, public.prefix) else public.prefix + path


def _is_within(path: bytes, root: bytes) -> bool:
    return path == root or path.startswith(root + b"/")


def _is_absolute_path(parts: SplitResult) -> bool:
    return not parts.scheme and not parts.netloc and parts.path.startswith("/")


def _has_host(parts: SplitResult, base: SplitResult, scheme: str | None) -> bool:
    """Whether a reference has the host and port of `base`. The default port is that of `scheme`, or the reference's.

    Raises ValueError for an invalid port.
    """
    if parts.scheme not in ("", "http", "https") or not parts.hostname or parts.hostname != base.hostname:
        return False
    port = parts.port or _port(parts.scheme or scheme)
    return port == (base.port or _port(scheme or parts.scheme))


def _port(scheme: str | None) -> int:
    return 443 if scheme == "https" else 80


def _is_domain_of_target(domain: bytes, target: str, public: PublicAddress) -> bool:
    name = domain.decode("latin-1").lower().lstrip(".")
    try:
        own = urlsplit("//" + public.host.decode("latin-1")).hostname or ""
        host = urlsplit(target).hostname or ""
    except ValueError:
        return False
    return _covers(name, host) and not _covers(name, own)


def _covers(domain: str, host: str) -> bool:
    return host == domain or host.endswith("." + domain)
