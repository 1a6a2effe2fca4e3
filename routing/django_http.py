"""Converts between Django's requests and responses and the gateway's, across event loops and threads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from math import inf
from typing import Any, Final

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from routing import runtime
from routing.errors import Unimplemented
from routing.http import ClientGone, Headers, Request, Response, Stream, client_timeout, may_have_content
from routing.messages.proxies import ClientOrigin, hosts_of, with_host

CHUNK_BYTES: Final = 64 * 1024
"""How much of a request's body is passed on in one piece."""
VIA_PROXY: Final = "gateway.via_proxy"
"""The key in a request's META that says that a trusted proxy has sent it. Header fields have names that begin with
HTTP_.
"""
_BLANK_IF_ABSENT: Final = frozenset({b"content-length", b"content-type"})
"""Under WSGI, an empty variable may mean that the field is absent (PEP 3333)."""


def to_gateway_request(request: HttpRequest) -> Request:
    """The same request for the gateway. Django may have read the body already; it is passed on in chunks.

    Raises Unimplemented for a body with a transfer coding that the server has left in it.
    """
    # WSGI does not say reliably. With 1.0 a missing Host is accepted: checking it is the server's task.
    version = request.scope.get("http_version", "1.1") if isinstance(request, ASGIRequest) else "1.0"
    length, coding = request.headers.get("Content-Length"), request.headers.get("Transfer-Encoding")
    has_body = may_have_content(_method(request), version, length, coding)
    path, _, query = _target(request).partition(b"#")[0].partition(b"?")
    converted = Request(
        method=_method(request),
        path=path,
        query=query,
        headers=fields(request),
        client=request.META.get("REMOTE_ADDR", ""),
        scheme=request.scheme or "http",
        version=version,
        body=_chunks(_reader(request)) if has_body else None,
    )
    converted.via_proxy = VIA_PROXY in request.META
    return converted


def _method(request: HttpRequest) -> str:
    """The method as received: Django's own has capital letters only."""
    method = request.scope["method"] if isinstance(request, ASGIRequest) else request.META.get("REQUEST_METHOD")
    return str(method or "GET")


def _target(request: HttpRequest) -> bytes:
    """Path and query as received, if the server passes them on; otherwise as Django encodes them."""
    if isinstance(request, ASGIRequest):
        path = request.scope.get("raw_path") or request.path.encode()
        query: bytes = request.scope["query_string"]
        return path + b"?" + query if query else path
    for name in ("REQUEST_URI", "RAW_URI"):
        if name in request.META:
            return str(request.META[name]).encode("latin-1")
    return request.get_full_path().encode()


def fields(request: HttpRequest) -> Headers:
    """The header fields as received, as far as the server passes them on."""
    if isinstance(request, ASGIRequest):
        return list(request.scope["headers"])
    fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()]
    kept = [(name, value) for name, value in fields if value or name not in _BLANK_IF_ABSENT]
    return kept if "Host" in request.headers else [(b"host", _server_name(request)), *kept]


def _server_name(request: HttpRequest) -> bytes:
    """What stands for a missing Host field under WSGI, as in Django's `get_host`."""
    name, port = str(request.META.get("SERVER_NAME", "")), str(request.META.get("SERVER_PORT", ""))
    is_default = port in ("", "443" if request.is_secure() else "80")
    return (name if is_default else f"{name}:{port}").encode("latin-1")


def set_origin(request: HttpRequest, origin: ClientOrigin) -> None:
    """Let the request come from another client, over another scheme and for another host, as a proxy says."""
    request.META["REMOTE_ADDR"], request.META[VIA_PROXY] = origin.client, True
    host = origin.host if len(hosts_of(fields(request))) < 2 else None  # two are left to be rejected
    if host is not None:
        request.META["HTTP_HOST"] = host.decode("latin-1")
    if isinstance(request, ASGIRequest):
        headers = request.scope["headers"] if host is None else with_host(request.scope["headers"], host)
        request.scope = {**request.scope, "scheme": origin.scheme, "headers": headers}
    else:
        request.META["wsgi.url_scheme"] = origin.scheme


def _reader(request: HttpRequest) -> Callable[[int], bytes]:
    """Reads the body. Under WSGI, Django's own reader reads nothing without a Content-Length, while servers that decode
    transfer codings say so by `wsgi.input_terminated`.
    """
    if isinstance(request, ASGIRequest) or request.headers.get("Content-Length"):
        return request.read
    if not request.META.get("wsgi.input_terminated"):
        raise Unimplemented("this server does not decode transfer codings: send a Content-Length")
    read: Callable[[int], bytes] = request.META["wsgi.input"].read
    return read


async def _chunks(read: Callable[[int], bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(read, CHUNK_BYTES):
        yield chunk


def to_django_response(request: HttpRequest, response: Response) -> HttpResponseBase:
    """A Django response with exactly the fields of `response`, whatever Django's middleware adds."""
    if isinstance(response.body, bytes):
        return _ExactResponse(response.headers, content=response.body, status=response.status)
    if isinstance(request, ASGIRequest):
        return _ExactStream(response.headers, streaming_content=_from_loop(response.body), status=response.status)
    return _ExactStream(response.headers, streaming_content=_from_thread(response.body), status=response.status)


class _ExactFields:
    """Keeps the fields as given: repeated ones stay separate, and none is added."""

    def __init__(self, fields: Headers, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._exact_fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]

    def items(self) -> Iterable[tuple[str, str]]:
        return self._exact_fields


class _ExactResponse(_ExactFields, HttpResponse):
    pass


class _ExactStream(_ExactFields, StreamingHttpResponse):
    pass


async def _from_loop(body: Stream) -> AsyncIterator[bytes]:
    """The chunks of a body that is read on the gateway's loop, for the running loop."""
    submit, reader = runtime.current().submit, _Reader(body)
    try:
        while (chunk := await asyncio.wrap_future(submit(reader.next_chunk()))) is not None:
            yield chunk
    finally:
        submit(reader.close())


def _from_thread(body: Stream) -> Iterator[bytes]:
    submit, reader = runtime.current().submit, _Reader(body)
    try:
        while (chunk := submit(reader.next_chunk()).result()) is not None:
            yield chunk
    finally:
        submit(reader.close()).result()


class _Reader:
    """Reads a body on the gateway's loop, and closes it when its client has taken nothing for too long."""

    def __init__(self, body: Stream) -> None:
        self._body = body
        self._seconds = client_timeout(body)
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    async def next_chunk(self) -> bytes | None:
        """None at the end. Raises ClientGone once the client has been given up."""
        self._stop_timer()
        if self._closing is not None:
            raise ClientGone
        chunk = await anext(self._body, None)
        if chunk is not None and self._seconds != inf:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._give_up)
        return chunk

    async def close(self) -> None:
        self._stop_timer()
        await self._body.aclose()

    def _give_up(self) -> None:
        self._closing = asyncio.create_task(self._body.aclose())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
