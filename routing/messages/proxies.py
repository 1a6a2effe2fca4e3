"""What trusted proxies say about a request: the client's address, the scheme and the host it used (ADR 20). Pure rules.

Read from `X-Forwarded-For`, `-Proto` and `-Host`, or, where a request has none of these, from `Forwarded` (RFC 7239).
`X-Forwarded-Port` completes a host without a port.
Lists are read from the right, since only what trusted proxies appended can be relied on, and MAX_HOPS deep.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from routing.http import Headers, Request, joined

IPNetwork = IPv4Network | IPv6Network

MAX_HOPS: Final = 32
"""Proxies between the client and the gateway. Bounds the work for a list of 32 kB."""
_MAX_PAIRS: Final = 4 * MAX_HOPS
"""A longer `Forwarded` is malformed."""
_MAX_NODE_LENGTH: Final = 64
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LONGEST_PORT: Final = 5
_SCHEMES: Final = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
_PAIR: Final = re.compile(rb'[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s",;]*)[ \t]*([;,]|\Z)')
"""A parameter of `Forwarded`, and what follows it. An address in brackets is accepted without quotes."""
_SEPARATORS: Final = re.compile(rb"[ \t;,]+")
_ESCAPE: Final = re.compile(rb"\\(.)")

Element = dict[bytes, bytes]


class ClientOrigin(NamedTuple):
    """`host` is None where no proxy says anything about it: then the Host field holds."""

    client: str
    scheme: str
    host: bytes | None


class TrustedProxies:
    """The networks of TRUSTED_PROXIES."""

    def __init__(self, networks: Sequence[IPNetwork] = ()) -> None:
        self._networks = tuple(networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, peer: str) -> bool:
        """Whether `peer`, a connection's other end, may speak for clients."""
        address = _parse(peer) if peer and len(peer) <= _MAX_NODE_LENGTH else None
        return address is not None and any(address in network for network in self._networks)

    def apply(self, request: Request) -> None:
        """Replace the request's client, scheme and host by what trusted proxies say. A second call changes nothing."""
        if not self.trusts(request.client):
            return
        request.via_proxy = True
        origin = self.origin(request.client, request.scheme, request.headers)
        request.client, request.scheme = origin.client, origin.scheme
        sent = request.fields.get(b"host")
        if origin.host and origin.host != sent and len(hosts_of(request.headers)) == 1:
            request.headers = with_host(request.headers, origin.host)
            request.fields = {**request.fields, b"host": origin.host}
            request.shared_head = None  # which also stands for peers that are not trusted

    def origin(self, peer: str, scheme: str, headers: Headers) -> ClientOrigin:
        """For a connection from `peer`, which is trusted, that itself uses `scheme`."""
        nodes, schemes, hosts = (_last(joined(headers, name)) for name in _X_FORWARDED)
        forwarded = None if nodes or schemes or hosts else joined(headers, b"forwarded")
        if forwarded is not None:
            return self._forwarded_origin(peer, scheme, parse_forwarded(forwarded)[-MAX_HOPS:])
        client, hop = self._walk(peer, nodes)
        # As many schemes as addresses were appended by the same proxies. Otherwise the first is the client's.
        proto = schemes[-1 - hop] if schemes and len(schemes) == len(nodes) else b"".join(schemes[:1])
        host, scheme = _at(hosts, hop), _SCHEMES.get(proto.lower(), scheme)
        port = _at(_last(joined(headers, b"x-forwarded-port")), hop)
        if port is not None:
            sent = hosts_of(headers)
            host = _with_port(host or (sent[0] if len(sent) == 1 else b""), port)
        return ClientOrigin(client, scheme, host or None)

    def _forwarded_origin(self, peer: str, scheme: str, elements: list[Element]) -> ClientOrigin:
        client, hop = self._walk(peer, [element.get(b"for", b"") for element in elements])
        appended = elements[::-1][: hop + 1][::-1]
        proto, host = _first(appended, b"proto") or b"", _first(appended, b"host")
        return ClientOrigin(client, _SCHEMES.get(proto.lower(), scheme), host or None)

    def _walk(self, peer: str, nodes: list[bytes]) -> tuple[str, int]:
        """The client's address, and by how many steps from the right the element lies that a proxy wrote for it."""
        hop = 0
        for hop, node in enumerate(reversed(nodes)):  # noqa: B007 - used after the loop
            address = parse_node(node)
            if address is None:
                break
            peer = address
            if not self.trusts(address):
                break
        return peer, hop


_X_FORWARDED: Final = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")


def hosts_of(headers: Headers) -> list[bytes]:
    return [value for name, value in headers if name == b"host"]


def with_host(headers: Headers, host: bytes) -> Headers:
    return [field if field[0] != b"host" else (b"host", host) for field in headers]


def port_of(host: bytes, scheme: str) -> int:
    """The port in a Host field, or the scheme's default."""
    digits = host.rpartition(b":")[2] if _has_port(host) else b""
    is_port = digits.isdigit() and len(digits) <= _LONGEST_PORT
    return int(digits) if is_port else _DEFAULT_PORTS.get(scheme, 80)


def parse_node(node: bytes) -> str | None:
    """The address of a node: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`, quoted or not.

    None for a name, an obfuscated identifier or anything else. An IPv4 address mapped to IPv6 is returned as IPv4.
    """
    text = node.decode("latin-1").strip('" \t')
    if not text or len(text) > _MAX_NODE_LENGTH:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = _parse(text)
    return None if address is None else str(address)


def normal_address(peer: str) -> str:
    """A peer's address as one text: that of an IPv4 client of an IPv6 socket is IPv4, and there is no zone."""
    if ":" not in peer:
        return peer
    address = _parse(peer)
    return peer if address is None else str(address)


def parse_forwarded(value: bytes) -> list[Element]:
    """The elements of a `Forwarded` field, each a dictionary of its parameters; none if it is malformed."""
    elements: list[Element] = []
    current: Element = {}
    position = pairs = 0
    while position < len(value):
        found = _SEPARATORS.match(value, position) or _PAIR.match(value, position)
        if found is None or pairs > _MAX_PAIRS:
            return []
        position = found.end()
        if found.re is _PAIR:
            pairs, name = pairs + 1, found[1].lower()
            if name in current:
                return []
            current[name] = _unquoted(found[2])
        if b"," in found[found.re.groups] and current:
            elements.append(current)
            current = {}
    return [*elements, current] if current else elements


def _unquoted(content: bytes) -> bytes:
    return _ESCAPE.sub(rb"\1", content[1:-1]) if content.startswith(b'"') else content


def _last(value: bytes | None) -> list[bytes]:
    """The last MAX_HOPS members of a list that are not empty."""
    members = [] if value is None else value.rsplit(b",", MAX_HOPS)[-MAX_HOPS:]
    return [member for member in map(bytes.strip, members) if member]


def _at(members: list[bytes], hop: int) -> bytes | None:
    """The member at the client's place in the list. The first one, if the list is shorter."""
    if not members:
        return None
    return members[-1 - hop] if hop < len(members) else members[0]


def _with_port(host: bytes, port: bytes) -> bytes:
    """A host with the port that the client used, unless it has one.

    The ports 80 and 443 are not added: they are the default of one scheme, and beside the other they are those of a
    proxy behind the one that ended TLS.
    """
    number = int(port) if port.isdigit() and len(port) <= _LONGEST_PORT else 0
    if not host or _has_port(host) or not 0 < number < 65_536 or number in _DEFAULT_PORTS.values():
        return host
    return b"%b:%d" % (host, number)


def _has_port(host: bytes) -> bool:
    return b":" in host.rpartition(b"]")[2]


def _first(elements: Sequence[Element], name: bytes) -> bytes | None:
    """The parameter of the first element that has it: the one nearest to the client."""
    return next((element[name] for element in elements if name in element), None)


@lru_cache(maxsize=4_096)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
