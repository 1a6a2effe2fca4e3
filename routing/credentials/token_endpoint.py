"""Calls to token endpoints: bounded in time and size, and without redirects.

Some servers send gzip to everybody, and a byte order mark before JSON (RFC 8259 section 8.1).
"""

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Callable
from typing import Final

from routing.authentication.introspection import Question
from routing.backend.client import Backend, BackendResponse, Call
from routing.credentials.grants import TokenRequest
from routing.credentials.token_response import TokenRequestFailed, TokenResponse, read_tokens
from routing.errors import GatewayError, StreamTimeout, UpstreamTimeout
from routing.http import Headers
from routing.messages.bodies import read_up_to
from routing.messages.content_coding import content_coding, decoded
from routing.router.policy import Target, Timeout

LIMIT_SECONDS: Final = 10.0
"""The time limit of the whole call, name lookup included."""
MAX_RESPONSE_BYTES: Final = 64 * 1024


class TokenEndpoint:
    """`clock` is Unix time."""

    def __init__(self, client: Backend, clock: Callable[[], float], limit: float = LIMIT_SECONDS) -> None:
        self._client = client
        self._clock = clock
        self._limit = limit
        self._timeout = Timeout(connect=limit, read=limit, total=limit, idle=limit, stream=limit)

    async def fetch(self, request: TokenRequest, token_object: str = "", *, is_refresh: bool = False) -> TokenResponse:
        """The tokens that the endpoint returns. Raises TokenRequestFailed."""
        response, body = await self._send(request)
        now = self._clock()
        return read_tokens(response.status, response.headers, body, now, token_object, is_refresh=is_refresh)

    async def revoke(self, request: TokenRequest) -> int:
        """The status of the response to a revocation. Raises TokenRequestFailed."""
        response, _ = await self._send(request)
        return response.status

    async def introspect(self, question: Question) -> tuple[int, bytes]:
        """The status and the content of the response to an introspection (RFC 7662). Raises ConnectionError."""
        try:
            response, body = await self._send(TokenRequest(*question))
        except TokenRequestFailed as failure:
            raise ConnectionError(str(failure)) from None
        return response.status, body

    async def _send(self, request: TokenRequest) -> tuple[BackendResponse, bytes]:
        url, _, query = request.url.partition("?")
        call = Call("POST", b"?" + query.encode() if query else b"", request.headers, _body(request.body))
        call.length = len(request.body)
        try:
            async with asyncio.timeout(self._limit):
                response = await self._client.send(Target(url), call, self._timeout)
                try:
                    chunks, is_complete = await read_up_to(response.body, MAX_RESPONSE_BYTES)
                finally:
                    await response.aclose()
        except (TimeoutError, UpstreamTimeout, StreamTimeout):
            raise TokenRequestFailed("timeout") from None
        except GatewayError:
            raise TokenRequestFailed("unreachable") from None
        if not is_complete:
            raise TokenRequestFailed("response_too_large")
        return response, _content(response.headers, b"".join(chunks))


def _content(headers: Headers, body: bytes) -> bytes:
    """The decoded content; what cannot be decoded is as it was, and is no JSON."""
    coding = content_coding(headers)
    content = decoded(body, coding, MAX_RESPONSE_BYTES) if coding else None
    return (body if content is None else content).removeprefix(BOM_UTF8)


async def _body(content: bytes) -> AsyncIterator[bytes]:
    yield content
