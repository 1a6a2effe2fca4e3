"""Where browsers may have the cookies of the gateway's pages."""

from collections.abc import Iterable

from routing.messages.own_cookies import OwnCookies
from routing.router.hosts import domain_of


class GatewayCookies:
    """`names` are those of the cookies of staff's pages and of the portal. `hosts` are those of ALLOWED_HOSTS.

    Browsers send a cookie to the host that has set it. A service's own host has no pages of the gateway, so that its
    backend may use the same names, as most Django projects do. If ALLOWED_HOSTS names that host, it may have had such
    pages before. `have_domain`: the cookies are set for a whole domain, and so for hosts of services too.
    """

    def __init__(
        self, names: frozenset[bytes] = frozenset(), hosts: Iterable[str] = (), *, have_domain: bool = False
    ) -> None:
        self._sent = OwnCookies(names)
        self._not_sent = OwnCookies(names, may_be_sent=have_domain)
        self._domains = frozenset(map(domain_of, hosts))

    def at(self, prefix: bytes, host: bytes) -> OwnCookies:
        """`prefix` is the gateway's own part of the path, empty on a service's own host; `host` is the Host field."""
        if prefix or domain_of(host.decode("latin-1")) in self._domains:
            return self._sent
        return self._not_sent
