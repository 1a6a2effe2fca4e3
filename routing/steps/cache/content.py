"""Step 5 for requests whose content is part of their cache key: a POST that reads, or a GET with content."""

import asyncio
from collections.abc import Awaitable
from math import inf

from resilience.cache.content_key import MAX_CONTENT_BYTES, content_key
from routing.exchange import Exchange, RequestContent
from routing.http import Response
from routing.messages.bodies import read_up_to, resumed
from routing.messages.request_body import timed
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
        body = b""
        if request.body is not None:
            rest, idle = request.body, exchange.match.policy.timeout.idle
            if request.set_body_timeout is not None:
                request.set_body_timeout(idle)
            deadline = asyncio.get_running_loop().time() + CONTENT_SECONDS
            chunks, is_complete = await read_up_to(timed(rest, idle=idle, total=inf), MAX_CONTENT_BYTES, deadline)
            if not is_complete:
                request.body = resumed(chunks, rest)
                return "content-length" if sum(map(len, chunks)) > MAX_CONTENT_BYTES else "slow-content"
            body = b"".join(chunks)
            request.body = resumed([body] if body else [])
        content_type = request.fields.get(b"content-type", b"")
        method = "POST" if request.method == "POST" else "GET"
        key, values = content_key(method, content_type, body, policy.key.body, policy.body_tags)
        if values is None and policy.body_tags:
            return "ambiguous-content"
        exchange.content = RequestContent(body, key, values or {})
        return ""
