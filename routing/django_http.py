"""Django's requests and responses as the gateway's, byte for byte, on whichever loop or thread either lives."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from routing import runtime
from routing.http import Body, Headers, Request, Response

PIECE: Final = 64 * 1024
"""Bytes of a request's body passed on at once."""


_BLANK: Final = frozenset({b"content-length", b"content-type"})
"""WSGI says that a field is absent by an empty variable (PEP 3333)."""


def to_gateway_request(request: HttpRequest) -> Request:
    """The gateway's view of a Django request. Django has read the body by now; it is passed on in pieces."""
    has_body = "Transfer-Encoding" in request.headers or request.headers.get("Content-Length", "0") not in ("", "0")
    path, _, query = _target(request).partition(b"?")
    return Request(
        method=request.method or "GET",
        path=path,
        query=query,
        headers=_fields(request),
        client=request.META.get("REMOTE_ADDR", ""),
        scheme=request.scheme or "http",
        # Under WSGI whether a host must be named is the server's to judge, which knows what came.
        version=request.scope.get("http_version", "1.1") if isinstance(request, ASGIRequest) else "1.0",
        body=_pieces(request) if has_body else None,
    )


def _target(request: HttpRequest) -> bytes:
    """Path and query as sent, where the server tells; else as Django would write them."""
    if isinstance(request, ASGIRequest):
        path = request.scope.get("raw_path") or request.path.encode()
        query: bytes = request.scope["query_string"]
        return path + b"?" + query if query else path
    for name in ("REQUEST_URI", "RAW_URI"):
        if name in request.META:
            return str(request.META[name]).encode("latin-1")
    return request.get_full_path().encode()


def _fields(request: HttpRequest) -> Headers:
    if isinstance(request, ASGIRequest):
        return list(request.scope["headers"])
    fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()]
    return [(name, value) for name, value in fields if value or name not in _BLANK]


async def _pieces(request: HttpRequest) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(request.read, PIECE):
        yield piece


def to_django_response(request: HttpRequest, response: Response) -> HttpResponseBase:
    """The gateway's answer with its own header lines and no others, whatever Django's middlewares would add."""
    if isinstance(response.body, bytes):
        return _ExactResponse(response.headers, content=response.body, status=response.status)
    if isinstance(request, ASGIRequest):
        return _ExactStream(response.headers, streaming_content=_from_loop(response.body), status=response.status)
    return _ExactStream(response.headers, streaming_content=_from_thread(response.body), status=response.status)


class _Exact:
    """Every line as the gateway wrote it: repeated fields stay repeated, and nothing is added on the way out."""

    def __init__(self, lines: Headers, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in lines]

    def items(self) -> Iterable[tuple[str, str]]:
        return self._lines


class _ExactResponse(_Exact, HttpResponse):
    pass


class _ExactStream(_Exact, StreamingHttpResponse):
    pass


async def _from_loop(body: Body) -> AsyncIterator[bytes]:
    """The body's chunks, fetched on the gateway's loop and handed over to the one that is running."""
    submit = runtime.current().submit
    try:
        while (chunk := await asyncio.wrap_future(submit(_next(body)))) is not None:
            yield chunk
    finally:
        submit(_close(body))


def _from_thread(body: Body) -> Iterator[bytes]:
    submit = runtime.current().submit
    try:
        while (chunk := submit(_next(body)).result()) is not None:
            yield chunk
    finally:
        submit(_close(body)).result()


async def _next(body: Body) -> bytes | None:
    return await anext(body, None)


async def _close(body: Body) -> None:
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()
