"""OPTIONS: how many more times a request may be forwarded (RFC 9110 section 7.6.2)."""

from typing import Final

from routing.errors import BadRequest
from routing.exchange import Exchange
from routing.http import Response
from routing.router.live import LiveConfiguration

MAX_FORWARDS: Final = b"max-forwards"
_MAX_DIGITS: Final = 18


class MaxForwards:
    """The step of OPTIONS requests before their backend call. TRACE is refused before."""

    def __init__(self, live: LiveConfiguration) -> None:
        self._live = live

    def limit(self, exchange: Exchange) -> Response | None:
        """Count this hop; at the last one, respond in the backend's place. Raises BadRequest."""
        request = exchange.request
        values = [value for name, value in request.headers if name == MAX_FORWARDS]
        if not values:
            return None
        if len(values) > 1 or not values[0].isdigit() or len(values[0]) > _MAX_DIGITS:
            raise BadRequest("Max-Forwards is not a number", service=exchange.service)
        left = int(values[0])
        if left == 0:
            match = exchange.match
            allow = ", ".join(self._live.table.methods(match.service, match.path))
            return Response(204, [(b"allow", allow.encode()), (b"cache-control", b"no-store")])
        # A new list: requests with the same head share theirs.
        request.headers = [pair for pair in request.headers if pair[0] != MAX_FORWARDS]
        request.headers.append((MAX_FORWARDS, b"%d" % (left - 1)))
        return None
