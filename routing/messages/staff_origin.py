"""The origins of staff's pages and of the portal, and what backends' responses must not do there.

A browser gives all pages of one scheme, host and port the same rights: a backend's page under `/api/v1` could use the
admin with the rights of the member of staff who opens it.
"""

from typing import Final

import msgspec

from routing.http import Header, Headers, Response

SANDBOX: Final[Headers] = [(b"content-security-policy", b"sandbox"), (b"x-content-type-options", b"nosniff")]
"""A response runs no scripts, sends no forms, and has an opaque origin. Its type is not guessed from its content."""
_ORIGIN_WIDE: Final = frozenset(
    {
        b"accept-ch",
        b"alt-svc",
        b"clear-site-data",
        b"critical-ch",
        b"expect-ct",
        b"nel",
        b"origin-agent-cluster",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"report-to",
        b"reporting-endpoints",
        b"sec-session-registration",
        b"secure-session-registration",
        b"service-worker-allowed",
        b"set-login",
        b"shared-storage-write",
        b"strict-transport-security",
        b"use-as-dictionary",
        b"x-content-type-options",
    }
)
"""Fields that affect a whole origin, and the one that SANDBOX replaces."""


class StaffOrigin(msgspec.Struct, frozen=True):
    """STAFF_HOST and STAFF_PORT: where staff's pages are. With neither, wherever the gateway's own paths are."""

    host: str | None = None
    port: int | None = None

    def serves(self, domain: str, local_port: int) -> bool:
        """Whether staff's pages are on this domain, over a connection to this port of the gateway."""
        return self.host in (None, domain) and self.port in (None, local_port)

    def shares(self, domain: str) -> bool:
        """Whether they have the origin of `/api/v1` on this domain; with a port of their own, they never have."""
        return self.port is None and self.host in (None, domain)


class PortalOrigin(msgspec.Struct, frozen=True):
    """PORTAL and PORTAL_HOST: where the portal is, if consumers have members. `staff` is where staff's pages are.

    Without a host, it is wherever the gateway's own paths are, except where only staff's pages are.
    """

    staff: StaffOrigin = StaffOrigin()
    enabled: bool = True
    host: str | None = None

    def serves(self, domain: str, local_port: int) -> bool:
        """Whether the portal is on this domain, over a connection to this port of the gateway."""
        return self.shares(domain) and (self.staff.port is None or self.staff.port != local_port)

    def shares(self, domain: str) -> bool:
        """Whether it has the origin of `/api/v1` on this domain."""
        if not self.enabled:
            return False
        return domain == self.host if self.host else self.staff.host is None or self.staff.host != domain


def confine(headers: Headers) -> Headers:
    """The fields of a backend's response without those that affect the whole origin, and cookies for other hosts."""
    return [field for field in headers if field[0] not in _ORIGIN_WIDE and not _is_domain_cookie(field)]


def sandbox(response: Response) -> Response:
    """A response for the listener of STAFF_PORT."""
    response.headers = [*confine(response.headers), *SANDBOX]
    return response


def _is_domain_cookie(field: Header) -> bool:
    return field[0] == b"set-cookie" and has_domain(field[1])


def has_domain(set_cookie: bytes) -> bool:
    """Whether a Set-Cookie field sets its cookie for a domain, and so for all hosts in it."""
    attributes = [part.partition(b"=")[0].strip().lower() for part in set_cookie.split(b";")[1:]]
    return b"domain" in attributes
