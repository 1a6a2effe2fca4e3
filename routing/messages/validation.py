"""What a request must look like before anything is done for it, and whose it is: pure rules on bytes."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import chain
from typing import Final
from urllib.parse import unquote_to_bytes

from routing.errors import BadRequest, HeadersTooLarge, TargetTooLong
from routing.http import Headers, Request, first, joined

MAX_HEADER_BYTES: Final = 32 * 1024
"""All of a request's header fields together; most backends take no more than this."""
MAX_HEADERS: Final = 100
"""As Apache's LimitRequestFields."""
MAX_TARGET_BYTES: Final = 16 * 1024

_PLAIN_PATH: Final = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)+/?")
"""Paths of which nothing can be said against: no dot first, no escape, no empty segment, no semicolon."""
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.v]+\])(?::[0-9]*)?")
"""RFC 3986 section 3.2.2, without the user."""
_REFLECTING: Final = frozenset({"TRACE", "CONNECT"})
"""TRACE answers with the request as it came, and so with the fields that the gateway adds for the backend alone."""

Network = IPv4Network | IPv6Network


def validate(request: Request) -> None:
    """Raises BadRequest, HeadersTooLarge or TargetTooLong for a request that two readers might read differently."""
    validate_fields(request)
    validate_target(request)


def validate_fields(request: Request) -> None:
    """The same for all but what it asks for."""
    hosts = [value for name, value in request.headers if name == b"host"]
    if b"transfer-encoding" in request.fields and not _is_chunked(request.headers):
        raise BadRequest("the body has a transfer coding other than chunked")
    _validate_host(hosts, request.version)
    validate_size(request.headers)


def validate_target(request: Request) -> None:
    """The same for what it asks for."""
    if request.method in _REFLECTING:
        raise BadRequest(f"{request.method} is not passed on")
    if len(request.path) + len(request.query) > MAX_TARGET_BYTES:
        raise TargetTooLong(f"the path and query are over {MAX_TARGET_BYTES} bytes")
    if not _PLAIN_PATH.fullmatch(request.path):
        _validate_path(request.path)


def validate_size(headers: Headers) -> None:
    """Raises HeadersTooLarge."""
    if len(headers) > MAX_HEADERS:
        raise HeadersTooLarge(f"the header fields are over {MAX_HEADERS}")
    if sum(map(len, chain.from_iterable(headers))) > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"the header fields are over {MAX_HEADER_BYTES} bytes")


def _is_chunked(headers: Headers) -> bool:
    return all(value.lower() == b"chunked" for name, value in headers if name == b"transfer-encoding")


def _validate_host(hosts: list[bytes], version: str) -> None:
    """RFC 9112 section 3.2: one host, and a well-formed one. Before HTTP/1.1 it may be missing, or empty."""
    if version != "1.1" and hosts in ([], [b""]):
        return
    if len(hosts) != 1:
        raise BadRequest("the request must name one host")
    if not _HOST.fullmatch(hosts[0]):
        raise BadRequest("the host is malformed")


def _validate_path(path: bytes) -> None:
    """Refuse what a backend might resolve to another path than the one that was routed and permitted.

    Dot segments (RFC 3986 section 5.2.4) in every spelling that some server undoes: escaped, behind an escaped
    or a back slash, with a `;parameter`; empty segments; control characters.
    """
    plain = unquote_to_bytes(path)
    if _CONTROL.search(plain):
        raise BadRequest("the path has control characters")
    segments = plain.replace(b"\\", b"/").split(b"/")[1:]
    if any(segment.partition(b";")[0] in (b".", b"..") for segment in segments):
        raise BadRequest("the path has dot segments")
    if b"" in segments[:-1]:
        raise BadRequest("the path has empty segments")


def client_address(peer: str, headers: Headers, trusted: Sequence[Network]) -> str:
    """The client's address: the peer's, or, behind trusted proxies, the last that none of them vouches for.

    `X-Forwarded-For` is read from the right, since only what trusted proxies wrote at its end can be believed.
    """
    if not trusted or not _among(peer, trusted):
        return peer
    listed = joined(headers, b"x-forwarded-for") or b""
    for text in reversed([part.strip().decode("latin-1") for part in listed.split(b",") if part.strip()]):
        if _address(text) is None:
            return peer
        if not _among(text, trusted):
            return text
        peer = text
    return peer


def client_scheme(peer: str, scheme: str, headers: Headers, trusted: Sequence[Network]) -> str:
    """`http` or `https`: the connection's own, or what a trusted proxy says of the client's."""
    said = first(headers, b"x-forwarded-proto")
    if said in (b"http", b"https") and _among(peer, trusted):
        return said.decode()
    return scheme


def client_prefix(address: str) -> str:
    """The part of an address that one client holds: all of IPv4, the first 64 bits of IPv6 (RFC 6177 section 2)."""
    if ":" not in address:
        return address
    parsed = _address(address)
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, 64), strict=False))


def _among(text: str, networks: Sequence[Network]) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
