"""Batches of Google's APIs (developers.google.com/workspace/gmail/api/guides/batch): requests in one `multipart/mixed`.

Each part is a request with a path, never with a host. It has the batch's Authorization, unless it has its own.
"""

import asyncio
import uuid
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from routing.demo.google import GoogleError, error_response

MULTIPART: Final = "multipart/mixed"
PART: Final = "application/http"
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
_OF_THE_BATCH: Final = ("Authorization", "X-Gateway-Caller", "Via")
_OF_A_PART: Final = ("Authorization", "Content-Type", "If-Match", "If-None-Match")
"""The only fields of a part that its request has."""
_OF_A_RESPONSE: Final = ("Content-Type", "Cache-Control", "ETag", "Expires", "Location", "Vary", "WWW-Authenticate")


@dataclass(frozen=True)
class BatchPart:
    """`content_id` is empty if there is none."""

    content_id: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Batches:
    """The requests are sent to the backend itself, so that each counts as one. `root` is that of the API's paths."""

    def __init__(self, root: str, largest: int) -> None:
        self._root = root
        self._largest = largest
        self._session: aiohttp.ClientSession | None = None

    def attach(self, backend: web.Application) -> None:
        backend.router.add_post("/batch", self.call)
        backend.router.add_post(f"/batch{self._root}", self.call)
        backend.on_cleanup.append(self._close)

    async def call(self, request: web.Request) -> web.Response:
        try:
            parts = read_parts(request.headers.get("Content-Type", ""), await request.read())
        except ValueError as error:
            return error_response(GoogleError(400, "badRequest", f"Failed to parse batch request: {error}"), {})
        if len(parts) > self._largest:
            message = f"The batch request has {len(parts)} calls, which is more than {self._largest}."
            return error_response(GoogleError(400, "badRequest", message), {})
        responses = await asyncio.gather(*(self._respond(request, part) for part in parts))
        boundary = f"batch_{uuid.uuid4().hex}"
        body = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), response) for response in responses)
        headers = {"Content-Type": f"{MULTIPART}; boundary={boundary}", "Cache-Control": "private"}
        return web.Response(body=body + b"--%b--\r\n" % boundary.encode(), headers=headers)

    async def _respond(self, request: web.Request, part: BatchPart) -> bytes:
        """A part of the response."""
        head = f"Content-Type: {PART}\r\n"
        if part.content_id:
            head += f"Content-ID: <response-{part.content_id.removeprefix('<').removesuffix('>')}>\r\n"
        if not part.path.startswith(self._root + "/") or part.method not in METHODS:
            return head.encode() + b"\r\nHTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\r\nNot Found"
        status, fields, body = await self._send(request, part)
        lines = ["", f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *fields, f"Content-Length: {len(body)}"]
        return (head + "\r\n".join(lines) + "\r\n\r\n").encode() + body

    async def _send(self, request: web.Request, part: BatchPart) -> tuple[int, list[str], bytes]:
        assert request.transport is not None  # noqa: S101 - the client waits for the response
        host, port = request.transport.get_extra_info("sockname")[:2]
        headers = {name: request.headers[name] for name in _OF_THE_BATCH if name in request.headers} | part.headers
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        url = URL(f"http://{host}:{port}{part.path}", encoded=True)
        async with self._session.request(part.method, url, data=part.body or None, headers=headers) as response:
            fields = [f"{name}: {response.headers[name]}" for name in _OF_A_RESPONSE if name in response.headers]
            return response.status, fields, await response.read()

    async def _close(self, _: web.Application) -> None:
        if self._session is not None:
            await self._session.close()


def read_parts(content_type: str, body: bytes) -> list[BatchPart]:
    """The requests of a batch, whose lines end with CRLF or with LF. Raises ValueError."""
    if not content_type.isascii() or "\n" in content_type:
        raise ValueError("its type is malformed")
    message = BytesParser().parsebytes(b"Content-Type: %b\r\n\r\n%b" % (content_type.encode(), body))
    parts = message.get_payload()
    if message.get_content_type() != MULTIPART or not isinstance(parts, list):
        raise ValueError(f"it is not {MULTIPART}")
    messages = [part for part in parts if isinstance(part, Message)]
    return [_part(str(each.get("Content-ID", "")).strip(), _payload(each)) for each in messages]


def _part(content_id: str, payload: bytes) -> BatchPart:
    """One request: a request line, header fields and content."""
    line, _, rest = payload.lstrip(b"\r\n").partition(b"\n")
    words = line.decode("latin-1").split()
    if len(words) not in (2, 3) or not words[1].startswith("/"):
        raise ValueError("a part is not a request to a path")
    message = BytesParser().parsebytes(rest)
    headers = {name: " ".join(str(message[name]).split()) for name in _OF_A_PART if name in message}
    return BatchPart(content_id, words[0].upper(), words[1], headers, _payload(message))


def _payload(message: Message) -> bytes:
    """The content of a message that has no parts. Raises ValueError."""
    payload = message.get_payload(decode=True)
    if not isinstance(payload, bytes):
        raise ValueError("a part has parts")
    return payload
