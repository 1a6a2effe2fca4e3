"""Certificates in header fields, as nginx, AWS, Traefik and RFC 9440 write them: in DER, the client's first."""

import binascii
import re
from base64 import b64decode
from typing import Final
from urllib.parse import unquote_to_bytes

from routing.structured_fields import Item, parse_item, parse_list

MAX_BYTES: Final = 65_536
MAX_CERTIFICATES: Final = 10
_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*+)-----END CERTIFICATE-----\s*+")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]++={0,2}")


def parse_pem(value: bytes) -> tuple[bytes, ...]:
    """A field with PEM that is percent-encoded (nginx's $ssl_client_escaped_cert, AWS, Envoy), continued with tabs or
    spaces (nginx's $ssl_client_cert), or its base64 alone, with commas between certificates (Traefik, HAProxy).

    Raises ValueError.
    """
    if len(value) > MAX_BYTES:
        raise ValueError("too long")
    text = unquote_to_bytes(value).strip()
    if text.startswith(b"-----BEGIN"):
        blocks, position = list[bytes](), 0
        while position < len(text):
            found = _BLOCK.match(text, position)
            if found is None:
                raise ValueError("not PEM")
            blocks.append(b"".join(found[1].split()))
            position = found.end()
    else:
        blocks = [block.strip() for block in text.split(b",")]
    if not 1 <= len(blocks) <= MAX_CERTIFICATES:
        raise ValueError("no certificate, or too many")
    return tuple(map(_decode, blocks))


def parse_client_cert(value: bytes, chain: bytes | None) -> tuple[bytes, ...]:
    """`Client-Cert`, an item, and `Client-Cert-Chain`, a list (RFC 9440 section 2). Raises ValueError."""
    if len(value) + len(chain or b"") > MAX_BYTES:
        raise ValueError("too long")
    items = [parse_item(value.decode("ascii")), *(parse_list(chain.decode("ascii")) if chain else ())]
    certificates = [item.value for item in items if isinstance(item, Item) and isinstance(item.value, bytes)]
    if len(certificates) != len(items) or len(items) > MAX_CERTIFICATES:
        raise ValueError("not byte sequences, or too many")
    return tuple(certificates)


def _decode(block: bytes) -> bytes:
    try:
        if _BASE64.fullmatch(block) is None:
            raise ValueError("not base64")
        return b64decode(block, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
