"""Validation of requests before any processing. Pure functions."""

import re
from ipaddress import IPv6Network
from itertools import chain
from typing import Final
from urllib.parse import unquote_to_bytes

from routing.errors import BadRequest, HeadersTooLarge, TargetTooLong
from routing.http import Headers, Request
from routing.messages.proxies import normal_address

MAX_HEADER_BYTES: Final = 32 * 1024
"""Limit for all header fields of a request together; most backends accept no more."""
MAX_HEADERS: Final = 100
"""The default of Apache's LimitRequestFields."""
MAX_TARGET_BYTES: Final = 16 * 1024

_PLAIN_PATH: Final = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)+/?")
"""Paths that need no further check: no leading dots, escapes, empty segments or semicolons in any segment."""
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.v]+\])(?::[0-9]*)?")
"""RFC 3986 section 3.2.2, without userinfo."""
_REFUSED_METHODS: Final = frozenset({"TRACE", "CONNECT"})
"""A TRACE response would disclose the fields the gateway adds for the backend; CONNECT is not for a gateway."""


def validate(request: Request) -> None:
    """Reject a request that two HTTP implementations might interpret differently.

    Raises BadRequest, HeadersTooLarge or TargetTooLong.
    """
    validate_fields(request)
    validate_target(request)


def validate_fields(request: Request) -> None:
    """The part of `validate` that does not depend on the method and target."""
    hosts = [value for name, value in request.headers if name == b"host"]
    if b"transfer-encoding" in request.fields and not _is_chunked(request.headers):
        raise BadRequest("transfer codings other than chunked are not supported")
    _validate_host(hosts, request.version)
    validate_size(request.headers)


def validate_target(request: Request) -> None:
    """The part of `validate` for the method and target."""
    if request.method in _REFUSED_METHODS:
        raise BadRequest(f"the method {request.method} is not supported")
    if len(request.path) + len(request.query) > MAX_TARGET_BYTES:
        raise TargetTooLong(f"the path and query are longer than {MAX_TARGET_BYTES} bytes")
    if not _PLAIN_PATH.fullmatch(request.path):
        _validate_path(request.path)


def validate_size(headers: Headers) -> None:
    """Raises HeadersTooLarge."""
    if len(headers) > MAX_HEADERS:
        raise HeadersTooLarge(f"there are more than {MAX_HEADERS} header fields")
    if sum(map(len, chain.from_iterable(headers))) > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"the header fields are larger than {MAX_HEADER_BYTES} bytes")


def _is_chunked(headers: Headers) -> bool:
    return all(value.lower() == b"chunked" for name, value in headers if name == b"transfer-encoding")


def _validate_host(hosts: list[bytes], version: str) -> None:
    """RFC 9112 section 3.2: exactly one well-formed Host field. Before HTTP/1.1 it may be missing or empty."""
    if version != "1.1" and hosts in ([], [b""]):
        return
    if len(hosts) != 1:
        raise BadRequest("the request must have exactly one Host field")
    if not _HOST.fullmatch(hosts[0]):
        raise BadRequest("the Host field is malformed")


def _validate_path(path: bytes) -> None:
    """Reject a path that a backend might resolve to another one than was routed and authorized.

    These are dot segments (RFC 3986 section 5.2.4) in any form that some server decodes: percent-encoded, after an
    encoded slash or a backslash, with a `;parameter`; empty segments; and control characters.
    """
    decoded = unquote_to_bytes(path)
    if _CONTROL.search(decoded):
        raise BadRequest("the path contains control characters")
    segments = decoded.replace(b"\\", b"/").split(b"/")[1:]
    if any(segment.partition(b";")[0] in (b".", b"..") for segment in segments):
        raise BadRequest("the path contains dot segments")
    if b"" in segments[:-1]:
        raise BadRequest("the path contains empty segments")


def client_prefix(address: str) -> str:
    """The part of an address that identifies one client: all of IPv4, a /64 of IPv6 (RFC 6177 section 2)."""
    if ":" not in address:
        return address
    normal = normal_address(address)
    try:
        return str(IPv6Network((normal, 64), strict=False))
    except ValueError:
        return normal
