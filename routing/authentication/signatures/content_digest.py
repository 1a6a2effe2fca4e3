"""`Content-Digest` (RFC 9530): the content of a request is compared with its digest while it is read."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Final

from routing.authentication.signatures.errors import InvalidSignature
from routing.http import Body, Headers, joined
from routing.structured_fields import Item, parse_dictionary

FIELD: Final = b"content-digest"
MAX_FIELD_BYTES: Final = 1_024
_ALGORITHMS: Final = {"sha-512": "sha512", "sha-256": "sha256"}
"""Those of RFC 9530 that are not deprecated, by their names in hashlib."""


class ContentDigest:
    """The digests that a request says of its content. All that are known must be right."""

    def __init__(self, expected: dict[str, bytes]) -> None:
        self._expected = expected
        self._hashes = {name: hashlib.new(name) for name in expected}

    @classmethod
    def of(cls, headers: Headers) -> "ContentDigest":
        """Raises InvalidSignature if the field is malformed or has no algorithm that is known."""
        value = joined(headers, FIELD) or b""
        try:
            members = parse_dictionary(value.decode("ascii"), unique=True) if len(value) <= MAX_FIELD_BYTES else {}
        except ValueError:
            raise InvalidSignature("Content-Digest is malformed") from None
        expected = {}
        for name, member in members.items():
            if name in _ALGORITHMS and isinstance(member, Item) and isinstance(member.value, bytes):
                expected[_ALGORITHMS[name]] = member.value
        if not expected:
            raise InvalidSignature("Content-Digest needs sha-256 or sha-512")
        return cls(expected)

    def check(self) -> None:
        """Raise InvalidSignature if what was read is not the content."""
        for name, expected in self._expected.items():
            if not hmac.compare_digest(self._hashes[name].digest(), expected):
                raise InvalidSignature("the content does not match its Content-Digest")

    async def verified(self, body: Body) -> AsyncIterator[bytes]:
        """The body, whose last piece is passed on once the whole is known to be right: a backend never has the
        whole of a content that was not signed. Raises InvalidSignature instead.
        """
        held = b""
        async for chunk in body:
            for digest in self._hashes.values():
                digest.update(chunk)
            if held:
                yield held
            held = chunk
        self.check()
        if held:
            yield held
