"""The language model that a request names, for limits of the backend that are each model's own."""

from typing import Final

import msgspec

from routing.exchange import Exchange
from routing.http import Request, first
from routing.messages.conditions import MAX_BODY
from routing.messages.media_type import is_json
from routing.messages.request_body import read_ahead

UNKNOWN: Final = "?"
"""Of requests without a name that can be read: they have their limits in common."""
MAX_NAME: Final = 128
"""Longest name, in characters."""
READ_SECONDS: Final = 10.0
"""How long a body may take to arrive whose model is of interest."""


class _Named(msgspec.Struct):
    model: str = ""


_decode: Final = msgspec.json.Decoder(_Named).decode


async def named_model(exchange: Exchange) -> str:
    """The member `model` of a JSON body of at most MAX_BODY bytes, or UNKNOWN.

    The request can be forwarded as if it were unread. Raises RequestTimeout, and what the client's body raises.
    """
    if exchange.content is not None:
        return _name(exchange.content.body)
    request = exchange.request
    if not _may_be_read(request):
        return UNKNOWN
    idle = exchange.match.policy.timeout.idle
    body, is_whole = await read_ahead(request, MAX_BODY, idle=idle, seconds=READ_SECONDS)
    return _name(body) if is_whole and len(body) <= MAX_BODY else UNKNOWN


def _may_be_read(request: Request) -> bool:
    fields = request.fields
    if request.body is None or b"content-encoding" in fields or not is_json(first(request.headers, b"content-type")):
        return False
    length = fields.get(b"content-length", b"")
    return not (length.isdigit() and int(length) > MAX_BODY)


def _name(body: bytes) -> str:
    try:
        model = _decode(body).model
    except (ValueError, RecursionError):  # of msgspec and of UTF-8; too deeply nested
        return UNKNOWN
    return model if 0 < len(model) <= MAX_NAME and model.isprintable() else UNKNOWN
