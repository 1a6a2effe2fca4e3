"""A backend's header fields as the client gets them."""

import logging
from typing import Final

from routing.exchange import Exchange
from routing.http import Headers
from routing.messages import forwarding
from routing.messages.staff_origin import confine
from routing.router.gateway_cookies import GatewayCookies
from routing.upstream.call import BackendCall

log = logging.getLogger(__name__)

MAX_NOTED: Final = 1_000
"""Services that are named in the log for a cookie that they cannot set."""


class ClientHeaders:
    """`cookies` are the gateway's own, which a backend must not set."""

    def __init__(self, cookies: GatewayCookies) -> None:
        self._cookies = cookies
        self._noted = set[str]()

    def of(self, exchange: Exchange, call: BackendCall) -> Headers:
        """The response's header fields, memoised with a head that came before."""
        head, place = call.response.head, (exchange.prefix, exchange.resolution.sandboxed)
        memo = head.client_headers if head is not None else None
        if memo is not None and memo[0] is call.target and memo[1] == place:
            return memo[2].copy()
        headers = self._translated(exchange, call)
        if head is not None and not forwarding.depends_on_address(head.headers):
            head.client_headers = call.target, place, headers.copy()
        return headers

    def _translated(self, exchange: Exchange, call: BackendCall) -> Headers:
        response, public = call.response, exchange.public_address
        own = self._cookies.at(public.prefix, public.host)
        if any(name == b"set-cookie" and not own.permits(value) for name, value in response.headers):
            self._note_cookie(exchange.service)
        headers = forwarding.to_client(response.headers, call.target.url, public, own, response.status)
        return confine(headers) if exchange.resolution.sandboxed else headers

    def _note_cookie(self, service: str) -> None:
        """Log it once for each service: its users find that they cannot log in."""
        if service not in self._noted and len(self._noted) < MAX_NOTED:
            self._noted.add(service)
            log.warning(
                "%s set a cookie with the name of one of the gateway's own, which was dropped; with COOKIE_PREFIX, or "
                "at a host of the service's own, it can",
                service,
            )
