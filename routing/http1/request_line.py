"""The request line: method, request target and version (RFC 9112 section 3). Pure functions."""

import re
from typing import Final

from routing.errors import BadRequest, Unimplemented
from routing.http import Headers
from routing.messages.validation import HOST, validate_host

PARSED_METHODS: Final = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"}
)
"""Methods that llhttp parses itself. Its list of others depends on its version and on the protocol."""
MAX_PORT: Final = 65_535

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}"
_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([^ \r\n]+) HTTP/1\.[01]\r\n")
_PARTIAL: Final = re.compile(_TOKEN + rb"(?: [^\r\n]*\r?)?")
_OTHER_VERSION: Final = re.compile(_TOKEN + rb" [^ \r\n]+ (HTTP/[0-9.]+)\r\n")
_LOWER_CASE: Final = re.compile(rb"[a-z]")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.IGNORECASE)


def find_method(data: bytes, start: int) -> tuple[bytes, int] | None:
    """The method of the request line at `start`, and where it ends; None while the line is incomplete.

    Raises BadRequest for anything that is no request line of HTTP/1.0 or 1.1, Unimplemented for a method in lower case.
    """
    line = _LINE.match(data, start)
    if line is None:
        if _PARTIAL.fullmatch(data, start):
            return None
        version = _OTHER_VERSION.match(data, start)
        if version is not None:
            raise BadRequest(f"{version[1].decode()} is not supported")
        raise BadRequest("malformed request: invalid request line")
    method: bytes = line[1]
    if method not in PARSED_METHODS and _LOWER_CASE.search(method):
        # Many backends take `post` for POST, whose route may be another one (RFC 9110 section 9.1).
        raise Unimplemented("methods with lower-case letters are not supported")
    return method, line.end(1)


def parse_target(method: str, target: bytes, version: str, headers: Headers) -> tuple[tuple[bytes, bytes], Headers]:
    """Path and query, and the fields. The host of an absolute-form target replaces Host (RFC 9112 section 3.2.2).

    The path of an asterisk-form target is `*`. CONNECT's authority-form is returned as the path. Raises BadRequest.
    """
    if target.startswith(b"/"):
        path, _, query = target.partition(b"#")[0].partition(b"?")
        return (path, query), headers
    if target == b"*":
        if method != "OPTIONS":
            raise BadRequest("the target * is for OPTIONS only")
        return (b"*", b""), headers
    if method == "CONNECT":
        return (target, b""), headers
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise BadRequest("the request's target is neither a path nor an http or https URI")
    authority, path, query = absolute.groups(b"")
    _validate_authority(authority)
    validate_host(headers, version)
    if not path:
        path = b"*" if method == "OPTIONS" and absolute[3] is None else b"/"  # RFC 9112 section 3.2.4
    return (path, query), [(b"host", authority), *(field for field in headers if field[0] != b"host")]


def _validate_authority(authority: bytes) -> None:
    """A host and perhaps a port, without userinfo (RFC 9110 section 4.2.4)."""
    match = HOST.fullmatch(authority)
    port: bytes = match[1] or b"0" if match else b""
    if not port or len(port) > 5 or int(port) > MAX_PORT:
        raise BadRequest("the authority of the request's target is malformed")
