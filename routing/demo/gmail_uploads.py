"""Uploads of Gmail (developers.google.com/workspace/gmail/api/guides/uploads): simple, multipart and resumable."""

import json
import re
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from routing.demo.google import GoogleError, invalid, not_found
from routing.demo.json_backend import JsonObject

MAX_OPEN: Final = 100
MAX_BYTES: Final = 35 * 1024 * 1024
_RANGE: Final = re.compile(r"bytes (\d{1,12})-(\d{1,12})/(\d{1,12}|\*)")
_STATUS_QUERY: Final = re.compile(r"bytes \*/(\d{1,12}|\*)")


@dataclass
class ResumableUpload:
    """What has come of one: `metadata` is the content with which it began."""

    metadata: JsonObject
    content: bytes = b""


class Uploads:
    """Uploads that have begun, by id."""

    def __init__(self) -> None:
        self._open: dict[str, ResumableUpload] = {}

    async def receive(self, request: web.Request) -> JsonObject | web.Response:
        """The message as `messages.send` takes it, or the response to a part of it. Raises GoogleError."""
        content = await request.clone(client_max_size=MAX_BYTES).read()
        if "upload_id" in request.query:
            return self._continue(request, content)
        match request.query.get("uploadType"):
            case "media":
                return _message({}, content)
            case "multipart":
                return _related(request.headers.get("Content-Type", ""), content)
            case "resumable":
                return self._begin(request, content)
        raise invalid("uploadType")

    def _begin(self, request: web.Request, content: bytes) -> web.Response:
        """Where the upload is continued, in `Location`: an absolute URL, as Google sends it."""
        if len(self._open) >= MAX_OPEN:
            del self._open[next(iter(self._open))]
        key = uuid.uuid4().hex
        self._open[key] = ResumableUpload(_metadata(content))
        url = request.url.update_query(uploadType="resumable", upload_id=key)
        return web.Response(headers={"Location": str(url), "X-GUploader-UploadID": key})

    def _continue(self, request: web.Request, content: bytes) -> JsonObject | web.Response:
        """Take a part, or all of it. A range without content asks what has come."""
        key, field = request.query["upload_id"], request.headers.get("Content-Range", "")
        upload, part = self._open.get(key), _RANGE.fullmatch(field)
        if upload is None:
            raise not_found()
        if _STATUS_QUERY.fullmatch(field):
            return _incomplete(upload)
        if field and (
            part is None or int(part[1]) != len(upload.content) or int(part[2]) + 1 - int(part[1]) != len(content)
        ):
            raise invalid("Content-Range")
        upload.content += content
        if part is not None and (part[3] == "*" or int(part[3]) > len(upload.content)):
            return _incomplete(upload)
        del self._open[key]
        return _message(upload.metadata, upload.content)


def _incomplete(upload: ResumableUpload) -> web.Response:
    """308, which is Google's for this, and no redirect."""
    size = len(upload.content)
    fields = {"Range": f"bytes=0-{size - 1}"} if size else {}
    return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, reason="Resume Incomplete", headers=fields)


def _related(content_type: str, content: bytes) -> JsonObject:
    """`multipart/related` with metadata and a message."""
    if not content_type.isascii():
        raise invalid("Content-Type")
    message = BytesParser().parsebytes(b"Content-Type: %b\r\n\r\n%b" % (content_type.encode(), content))
    parts = message.get_payload()
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, Message) for part in parts):
        raise GoogleError(400, "badContent", "Media type 'multipart/related' needs metadata and a message.")
    return _message(_metadata(_content(parts[0])), _content(parts[1]))


def _content(part: Any) -> bytes:
    nested = part.get_payload()
    if isinstance(nested, list):  # message/rfc822
        return b"".join(each.as_bytes() for each in nested)
    return bytes(part.get_payload(decode=True))


def _metadata(content: bytes) -> JsonObject:
    try:
        metadata = json.loads(content or b"{}")
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise GoogleError(400, "parseError", "Parse Error")
    return metadata


def _message(metadata: JsonObject, content: bytes) -> JsonObject:
    return {**metadata, "raw": urlsafe_b64encode(content).decode()}
