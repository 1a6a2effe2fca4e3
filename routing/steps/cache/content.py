"""Step 5 for requests whose content is part of their cache key: a POST that reads, or a GET with content."""

from collections.abc import Awaitable

from resilience.cache.content_key import MAX_CONTENT_BYTES, content_key
from routing.exchange import Exchange, RequestContent
from routing.http import Response
from routing.messages.request_body import read_ahead
from routing.steps.cache.bypass import CONTENT_SECONDS, content_detail, has_content
from routing.steps.cache.lookup import CacheLookup


class ContentLookup:
    """Content is read before anything is looked up or waited for, so that a client that sends it slowly delays nobody.

    What cannot be part of a key is sent to the backend as it came, the part included that was read.
    """

    def __init__(self, lookup: CacheLookup) -> None:
        self._lookup = lookup

    def look_up(self, exchange: Exchange) -> Response | Awaitable[Response | None] | None:
        """Raises what `CacheLookup.look_up` raises, RequestTimeout, and what the client's body raises."""
        request = exchange.request
        if request.method != "POST" and not has_content(request):
            return self._lookup.look_up(exchange)
        detail = content_detail(request, exchange.match.policy)
        if detail:
            self._lookup.bypass(exchange, detail)
            return None
        return self._look_up(exchange)

    async def _look_up(self, exchange: Exchange) -> Response | None:
        detail = await self._read(exchange)
        if detail:
            self._lookup.bypass(exchange, detail)
            return None
        return await self._lookup.look_up_content(exchange)

    async def _read(self, exchange: Exchange) -> str:
        """Read the content and derive its key. Returns why the request bypasses the cache, if it does."""
        request, policy = exchange.request, exchange.match.policy.cache
        assert policy is not None  # noqa: S101 - else there is no such step
        idle = exchange.match.policy.timeout.idle
        body, is_whole = await read_ahead(request, MAX_CONTENT_BYTES, idle=idle, seconds=CONTENT_SECONDS)
        if not is_whole:
            return "content-length" if len(body) > MAX_CONTENT_BYTES else "slow-content"
        content_type = request.fields.get(b"content-type", b"")
        method = "POST" if request.method == "POST" else "GET"
        key, values = content_key(method, content_type, body, policy.key.body, policy.body_tags)
        if values is None and policy.body_tags:
            return "ambiguous-content"
        exchange.content = RequestContent(body, key, values or {})
        return ""
