"""The keys of programs that sign their requests, by key id."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from routing.authentication.signatures.algorithms import SignatureAlgorithm, Verifier, verifier
from routing.caller import Caller
from routing.consumers.table import ConsumerRecord, ConsumerTable

KIND: Final = "signature"
"""Begins the id of a caller that signs its requests."""
MAX_LOADED: Final = 4_096
"""The most keys that are kept parsed."""


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key. `material` is a public key in PEM, or a secret, hidden in its repr. `consumer` is the row of its
    consumer. `until` is Unix time: when it expires, or when the grace ends in which it is accepted
    beside the one that has replaced it.
    """

    keyid: str
    algorithm: SignatureAlgorithm
    material: str
    consumer: int
    scopes: frozenset[str] | None = None
    until: float | None = None

    def __repr__(self) -> str:
        return f"SigningKey(keyid={self.keyid!r})"

    def caller(self, record: ConsumerRecord, consumers: ConsumerTable) -> Caller:
        """Its consumer's name is part of the id. It contains no colon, so that the first one ends it."""
        caller_id = f"{KIND}+{record.name}:{self.keyid}"
        return Caller(caller_id, None, self.scopes, self.until, subscription=consumers.subscribed(record))

    def is_same(self, other: "SigningKey") -> bool:
        """Whether it is the same key, whatever it may be used for and until when."""
        return (self.keyid, self.algorithm, self.material, self.consumer) == (
            other.keyid,
            other.algorithm,
            other.material,
            other.consumer,
        )

    def verifies(self, signature: bytes, base: bytes) -> bool:
        return _loaded(self.algorithm, self.material)(signature, base)


class SigningKeys:
    """Immutable: replaced as a whole when the configuration changes."""

    def __init__(self, keys: Iterable[SigningKey] = ()) -> None:
        self.keys: Final = tuple(keys)
        found: dict[object, tuple[SigningKey, ...]] = {}
        for key in self.keys:
            found[key.keyid] = (*found.get(key.keyid, ()), key)
        self._by_id: Final[Mapping[object, tuple[SigningKey, ...]]] = found

    def __bool__(self) -> bool:
        return bool(self.keys)

    def find(self, keyid: object, now: float) -> tuple[SigningKey, ...]:
        """The keys with this id that are valid now: after a rotation, the new one and the old one."""
        return tuple([key for key in self._by_id.get(keyid, ()) if key.until is None or key.until > now])


@lru_cache(maxsize=MAX_LOADED)
def _loaded(algorithm: SignatureAlgorithm, material: str) -> Verifier:
    return verifier(algorithm, material)
