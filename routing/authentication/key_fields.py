"""API keys in the fields of other providers' SDKs, which cannot send one as `Authorization` or `X-API-Key`.

A field with one is renamed to X-API-Key where the request's head is read: from there on it is that field, whether it is
verified, withheld from backends, part of a cache key or hidden. See docs/adr/0070-keys-in-the-fields-of-sdks.md.
"""

import re
from typing import Final

from routing.authentication.key_form import contains_key
from routing.http import Headers, Request, first_values

AZURE: Final = b"api-key"
GOOGLE: Final = b"x-goog-api-key"
_FIELDS: Final = frozenset({AZURE, GOOGLE})
API_KEY: Final = b"x-api-key"
_BEGINNING: Final = re.compile(rb"[ \t]*gw_(?:(?:live|test)_)?[a-z2-7]{8}_")
"""How API keys begin, mistyped ones too."""


def has_key_field(fields: dict[bytes, bytes]) -> bool:
    """Whether a request has one of these fields, with an API key of the gateway or one of its backend."""
    return AZURE in fields or GOOGLE in fields


def with_api_key(headers: Headers) -> Headers:
    """The header fields with X-API-Key in place of these, as far as they have an API key of the gateway.

    One that repeats X-API-Key is left out. Any other value is the backend's, and stays.
    """
    renamed: Headers = []
    for name, value in headers:
        if name in _FIELDS and (_BEGINNING.match(value) is not None or contains_key(value)):
            if (API_KEY, value) not in renamed and (API_KEY, value) not in headers:
                renamed.append((API_KEY, value))
        else:
            renamed.append((name, value))
    return renamed


def rename_key_field(request: Request) -> None:
    """The same for a request whose head the gateway's own server has not read."""
    if has_key_field(request.fields):
        request.headers = with_api_key(request.headers)
        request.fields = first_values(request.headers)
