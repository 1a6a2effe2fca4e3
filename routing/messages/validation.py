"""Validation of requests before any processing. Pure functions."""

import re
from ipaddress import IPv6Network
from itertools import chain
from typing import Final

from routing.errors import BadRequest, HeadersTooLarge, MethodNotAllowed, TargetTooLong, Unimplemented
from routing.http import Headers, Request, joined
from routing.messages import percent_encoding
from routing.messages.proxies import normal_address

MAX_HEADER_BYTES: Final = 32 * 1024
"""Limit for all header fields of a request together; most backends accept no more."""
MAX_HEADERS: Final = 100
"""The default of Apache's LimitRequestFields."""
MAX_TARGET_BYTES: Final = 16 * 1024

_PLAIN_PATH: Final = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)+/?")
"""Paths that need no further check: no leading dots, escapes, empty segments or semicolons in any segment."""
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_OVERLONG: Final = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]")
"""The first bytes of sequences longer than their character needs, which RFC 3629 section 3 forbids: some servers decode
them as a slash or a dot."""

HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.v]+\])(?::([0-9]*))?")
"""RFC 3986 section 3.2.2, without userinfo. The group is the port."""
_METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Z]{1,64}")
"""Any token without lower-case letters: many backends take `post` for POST, whose route may be another one."""
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What `Allow` lists where any method is passed on."""
ASTERISK: Final = b"*"
"""The path of a request for the server as a whole (RFC 9112 section 3.2.4)."""


def validate(request: Request) -> None:
    """Reject a request that two HTTP implementations might interpret differently.

    Raises BadRequest, HeadersTooLarge, TargetTooLong, MethodNotAllowed or Unimplemented.
    """
    validate_fields(request)
    validate_target(request)


def validate_fields(request: Request) -> None:
    """The part of `validate` that does not depend on the method and target. Raises Unimplemented too."""
    if b"transfer-encoding" in request.fields:
        validate_transfer_codings(request.headers)
    validate_host(request.headers, request.version)
    validate_size(request.headers)


def validate_target(request: Request) -> None:
    """The part of `validate` for the method and target."""
    validate_method(request.method)
    if not request.path.startswith(b"/"):
        _validate_asterisk(request)
        return
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


def validate_method(method: str) -> None:
    """Any method is passed on, but TRACE, whose response would disclose the fields that the gateway adds for the
    backend, and CONNECT, which is not for a gateway. Raises BadRequest, MethodNotAllowed or Unimplemented.
    """
    if method in METHODS:
        return
    if method == "TRACE":
        raise MethodNotAllowed("TRACE is not supported", allow=METHODS)
    if method == "CONNECT":
        raise BadRequest("the method CONNECT is not supported")
    if not _METHOD.fullmatch(method):
        raise Unimplemented("the method is not supported")


def validate_transfer_codings(headers: Headers) -> None:
    """The only transfer coding that is implemented is chunked, once.

    Without it as the last one, the body's end cannot be found (RFC 9112 section 6.3). Raises BadRequest, Unimplemented.
    """
    value = joined(headers, b"transfer-encoding") or b""
    codings = [coding.strip(b" \t").lower() for coding in value.split(b",")]
    if codings[-1] != b"chunked" or b"chunked" in codings[:-1] or b"" in codings:
        raise BadRequest("the last transfer coding must be chunked, and it alone")
    if len(codings) > 1:
        raise Unimplemented("transfer codings other than chunked are not supported")


def validate_host(headers: Headers, version: str) -> None:
    """RFC 9112 section 3.2: exactly one well-formed Host field. Before HTTP/1.1 it may be missing or empty.

    Raises BadRequest.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if version != "1.1" and hosts in ([], [b""]):
        return
    if len(hosts) != 1:
        raise BadRequest("the request must have exactly one Host field")
    if not HOST.fullmatch(hosts[0]):
        raise BadRequest("the Host field is malformed")


def _validate_asterisk(request: Request) -> None:
    if request.path != ASTERISK or request.method != "OPTIONS" or request.query:
        raise BadRequest("the target must be a path, or * for OPTIONS")


def _validate_path(path: bytes) -> None:
    """Reject a path that leads out of the one it begins with, for some server.

    These are dot segments (RFC 3986 section 5.2.4) in any form that some server decodes: percent-encoded once or
    twice, in overlong UTF-8, after an encoded slash or a backslash, with a `;parameter`; and control characters. What
    else a path may mean to a service is decided by its own settings: see routing/router/spelling.py.
    """
    decoded = percent_encoding.decode(path)
    if _CONTROL.search(decoded):
        raise BadRequest("the path contains control characters")
    for text in (decoded,) if decoded == path else (decoded, percent_encoding.decode(decoded)):
        if _OVERLONG.search(text):
            raise BadRequest("the path contains overlong UTF-8")
        segments = text.replace(b"\\", b"/").split(b"/")
        if any(segment.partition(b";")[0] in (b".", b"..") for segment in segments):
            raise BadRequest("the path contains dot segments")


def client_prefix(address: str) -> str:
    """The part of an address that identifies one client: all of IPv4, a /64 of IPv6 (RFC 6177 section 2)."""
    if ":" not in address:
        return address
    normal = normal_address(address)
    try:
        return str(IPv6Network((normal, 64), strict=False))
    except ValueError:
        return normal
