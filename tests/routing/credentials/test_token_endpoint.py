"""Responses of token and introspection endpoints, as their servers encode them."""

import gzip
import json
import time
from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from typing import Any

import pytest

from routing.authentication.introspection import Question
from routing.credentials.grants import TokenRequest
from routing.credentials.token_endpoint import MAX_RESPONSE_BYTES, TokenEndpoint
from routing.credentials.token_response import TokenRequestFailed

URL = "https://login.example.com/token"


class Server:
    """Responds so to each call."""

    def __init__(self, content: bytes, *, coding: bytes = b"", status: int = 200) -> None:
        self.status = status
        self.headers = [(b"content-type", b"application/json"), *([(b"content-encoding", coding)] if coding else [])]
        self.body = self._pieces(content)

    async def send(self, *_: Any) -> "Server":
        return self

    async def aclose(self) -> None:
        pass

    async def _pieces(self, content: bytes) -> AsyncIterator[bytes]:
        yield content


def endpoint(content: bytes, **response: Any) -> TokenEndpoint:
    server: Any = Server(content, **response)
    return TokenEndpoint(server, time.time)


TOKENS = json.dumps({"access_token": "a1", "expires_in": 60}).encode()


@pytest.mark.parametrize(
    ("content", "coding"),
    [
        (gzip.compress(TOKENS, mtime=0), b"gzip"),
        (BOM_UTF8 + TOKENS, b""),
        (gzip.compress(BOM_UTF8 + TOKENS, mtime=0), b"x-gzip"),
    ],
)
async def test_tokens_may_be_encoded_and_have_a_byte_order_mark(content: bytes, coding: bytes) -> None:
    tokens = await endpoint(content, coding=coding).fetch(TokenRequest(URL, [], b""))
    assert tokens.access_token == "a1"
    question = Question(URL, [], b"")
    assert await endpoint(content, coding=coding).introspect(question) == (200, TOKENS)


@pytest.mark.parametrize(
    ("content", "coding"),
    [
        (gzip.compress(b" " * MAX_RESPONSE_BYTES + TOKENS, mtime=0), b"gzip"),
        (gzip.compress(TOKENS, mtime=0)[:-9], b"gzip"),
        (b"\x0b\x02\x80", b"br"),
    ],
)
async def test_what_cannot_be_decoded_within_the_bound_is_no_json(content: bytes, coding: bytes) -> None:
    with pytest.raises(TokenRequestFailed, match="not_json"):
        await endpoint(content, coding=coding).fetch(TokenRequest(URL, [], b""))
