"""Serves the status page from memory: it needs no session, and is rendered at most every few seconds."""

import asyncio
import gzip
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from channels.db import database_sync_to_async
from django.conf import settings
from django.utils.translation.trans_real import parse_accept_lang_header

from routing.errors import Unavailable
from routing.http import Headers, Request, Response
from routing.messages.identifiers import request_id
from routing.problems import identified_problem

log = logging.getLogger(__name__)

PATHS: Final = frozenset({b"/status", b"/status/"})
FRESH_SECONDS: Final = 15.0
"""How long a page is sent without looking again."""
RETRY_SECONDS: Final = 2.0
"""The time from one attempt to make it to the next."""
WAIT_SECONDS: Final = 1.0
"""How long a client waits for a newer page before it receives the last one."""
FIRST_WAIT_SECONDS: Final = 10.0
MAX_LANGUAGES: Final = 200
"""Characters of Accept-Language that are read."""
_HEADERS: Final[Headers] = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"public, max-age=%d" % FRESH_SECONDS),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"vary", b"Accept-Encoding, Accept-Language"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]


class _Pages(NamedTuple):
    """Bodies by language, plain and compressed. `made` is monotonic seconds."""

    made: float
    plain: Mapping[str, bytes]
    compressed: Mapping[str, bytes]


class StatusPage:
    """`render` returns the page in each language; it blocks, and runs in a thread. `timer` is monotonic seconds."""

    def __init__(self, render: Callable[[], Mapping[str, bytes]], timer: Callable[[], float]) -> None:
        self._render = render
        self._timer = timer
        self._pages: _Pages | None = None
        self._making: asyncio.Task[None] | None = None
        self._tried = -RETRY_SECONDS

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """The page for a GET or HEAD; at once, if it is fresh."""
        pages = self._pages
        if pages is not None and self._timer() - pages.made < FRESH_SECONDS:
            return _response(pages, request)
        return self._newer(request)

    async def _newer(self, request: Request) -> Response:
        """All requests that come meanwhile wait for one attempt. While none succeeds, the last page is sent."""
        if (self._making is None or self._making.done()) and self._timer() - self._tried >= RETRY_SECONDS:
            self._tried = self._timer()
            self._making = asyncio.create_task(self._make())
        if self._making is not None:
            await asyncio.wait({self._making}, timeout=WAIT_SECONDS if self._pages else FIRST_WAIT_SECONDS)
        if self._pages is None:
            return identified_problem(Unavailable("the status page cannot be made now"), _identifier(request))
        return _response(self._pages, request)

    async def _make(self) -> None:
        try:
            plain = await database_sync_to_async(self._render)()
        except Exception:
            log.exception("failed to make the status page; will retry")
            return
        compressed = {language: gzip.compress(body, 6) for language, body in plain.items()}
        self._pages = _Pages(self._timer(), plain, compressed)


def _response(pages: _Pages, request: Request) -> Response:
    language = _language(request.fields.get(b"accept-language", b""), pages.plain)
    headers = [*_HEADERS, (b"content-language", language.encode()), (b"x-request-id", _identifier(request).encode())]
    if b"gzip" in request.fields.get(b"accept-encoding", b""):
        headers.append((b"content-encoding", b"gzip"))
        body = pages.compressed[language]
    else:
        body = pages.plain[language]
    headers.append((b"content-length", b"%d" % len(body)))
    return Response(200, headers, body if request.method == "GET" else b"", framed=True)


def _identifier(request: Request) -> str:
    return request_id(request.fields.get(b"x-request-id"), time.time())


def _language(accepted: bytes, known: Mapping[str, bytes]) -> str:
    for code, _ in parse_accept_lang_header(accepted[:MAX_LANGUAGES].decode("latin-1").lower()):
        base = code.partition("-")[0]
        if base in known:
            return base
    return str(settings.LANGUAGE_CODE)
