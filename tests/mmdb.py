"""Writes MaxMind DB files (format 2.0), independent of the library that reads them."""

import struct
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, NamedTuple

MARKER = b"\xab\xcd\xefMaxMind.com"
BUILT = 1_790_000_000
Node = list[Any]
"""Two branches: another node, a record, or None."""


class _Integer(NamedTuple):
    """`kind` is 5 for 16 bits, 6 for 32 and 9 for 64."""

    kind: int
    value: int


def database(
    countries: Mapping[str, Any], *, kind: str = "Test-Country", ip_version: int = 6, built: int = BUILT
) -> bytes:
    """A file with the country of each network: a code, or any other record."""
    root: Node = [None, None]
    for text, found in countries.items():
        record = {"country": {"iso_code": found}} if isinstance(found, str) else found
        _insert(root, _bits(text, ip_version), record)
    nodes = _numbered(root)
    data, offsets = bytearray(), dict[int, int]()
    for node in nodes:
        for branch in node:
            if isinstance(branch, dict) and id(branch) not in offsets:
                offsets[id(branch)] = len(data)
                data += _encoded(branch)
    numbers = {id(node): number for number, node in enumerate(nodes)}
    tree = b"".join(_branch(branch, len(nodes), numbers, offsets) for node in nodes for branch in node)
    metadata = {
        "node_count": _Integer(6, len(nodes)),
        "record_size": _Integer(5, 24),
        "ip_version": _Integer(5, ip_version),
        "database_type": kind,
        "languages": ["en"],
        "binary_format_major_version": _Integer(5, 2),
        "binary_format_minor_version": _Integer(5, 0),
        "build_epoch": _Integer(9, built),
        "description": {"en": "for tests"},
    }
    return tree + bytes(16) + bytes(data) + MARKER + _encoded(metadata)


def _bits(text: str, ip_version: int) -> str:
    """IPv4 networks are below ::/96 in a file of IPv6."""
    network = ip_network(text)
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
    return bits if network.version == ip_version else "0" * 96 + bits


def _insert(node: Node, bits: str, record: Any) -> None:
    """A shorter network must come before those within it, whose branches then have its record."""
    for bit in map(int, bits[:-1]):
        if not isinstance(node[bit], list):
            node[bit] = [node[bit], node[bit]]
        node = node[bit]
    node[int(bits[-1])] = record


def _numbered(root: Node) -> list[Node]:
    found = [root]
    for node in found:
        found += [branch for branch in node if isinstance(branch, list)]
    return found


def _branch(branch: Any, count: int, numbers: dict[int, int], offsets: dict[int, int]) -> bytes:
    if branch is None:
        value = count
    elif isinstance(branch, list):
        value = numbers[id(branch)]
    else:
        value = count + 16 + offsets[id(branch)]
    return struct.pack(">I", value)[1:]


def _encoded(value: Any) -> bytes:
    if isinstance(value, str):
        return _control(2, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        return _control(7, len(value)) + b"".join(_encoded(key) + _encoded(item) for key, item in value.items())
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(_encoded, value))
    assert isinstance(value, _Integer)
    content = value.value.to_bytes((value.value.bit_length() + 7) // 8, "big")
    return _control(value.kind, len(content)) + content


def _control(kind: int, size: int) -> bytes:
    assert size < 29
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])
