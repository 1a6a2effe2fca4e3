"""A backend's header fields as the client gets them."""

from routing.exchange import Exchange
from routing.http import Headers
from routing.messages import forwarding
from routing.messages.staff_origin import confine
from routing.upstream.call import BackendCall


class ClientHeaders:
    """`own_cookies` are the names of the gateway's cookies, which a backend must not set."""

    def __init__(self, own_cookies: frozenset[bytes]) -> None:
        self._own_cookies = own_cookies

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
        headers = forwarding.to_client(response.headers, call.target.url, public, self._own_cookies, response.status)
        return confine(headers) if exchange.resolution.sandboxed else headers
