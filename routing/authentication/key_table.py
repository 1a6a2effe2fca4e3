"""The stored API keys in little memory."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from routing.authentication.key_record import KeyRecord, RetiredDigest
from routing.authentication.key_rules import KeyRules
from routing.consumers.packed import PackedRows
from routing.consumers.policy import Limits

_INDEXED: Final = 15
"""Bytes of a digest in the index: as many as fit into 48 bytes of memory. The rest is compared with the record."""


class _Packed(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A record without its rules, whose lists of networks are compiled. What few keys have is last."""

    digest: bytes
    prefix: str
    name: str
    scopes: frozenset[str] | None = None
    consumer: int | None = None
    expires: float | None = None
    tenant: str | None = None
    environment: str = ""
    limits: Limits | None = None
    created: float = 0.0
    retired: tuple[tuple[bytes, float], ...] = ()


class KeyTable(Collection[KeyRecord]):
    """Keys by their row and by the digests of their secrets. Written like `PackedRows`.

    Records that are of no row of a database get negative numbers in place of its id.
    """

    __slots__ = ("_by_digest", "_limited", "_retired", "_rows", "_rules")

    def __init__(self, records: Iterable[KeyRecord] = ()) -> None:
        self._rows = PackedRows(_Packed)
        self._by_digest: dict[bytes, int] = {}
        self._rules: dict[int, KeyRules] = {}
        self._limited: set[int] = set()
        self._retired: set[int] = set()
        for index, record in enumerate(records, 1):
            self.put(record.row or -index, record)

    @property
    def has_limits(self) -> bool:
        """Whether any key has limits of its own."""
        return bool(self._limited)

    @property
    def has_special(self) -> bool:
        """Whether any key has rules of its own, or a previous secret."""
        return bool(self._rules or self._retired)

    def put(self, row: int, record: KeyRecord) -> None:
        self.remove(row)
        packed = _pack(record)
        self._rows[row] = packed
        for digest in _digests(packed):
            self._by_digest[digest[:_INDEXED]] = row
        if record.rules is not None:
            self._rules[row] = record.rules
        if record.limits is not None:
            self._limited.add(row)
        if record.retired:
            self._retired.add(row)

    def remove(self, row: int) -> None:
        if row not in self._rows:
            return
        old = self._rows.pop(row)
        for digest in _digests(old):
            if self._by_digest.get(digest[:_INDEXED]) == row:
                del self._by_digest[digest[:_INDEXED]]
        self._rules.pop(row, None)
        self._limited.discard(row)
        self._retired.discard(row)

    def apply(self, changes: Mapping[int, KeyRecord | None]) -> None:
        """Replace these rows, and remove those that are None."""
        for row in changes:
            self.remove(row)
        for row, record in changes.items():
            if record is not None:
                self.put(row, record)

    def get(self, row: int) -> KeyRecord | None:
        packed = self._rows.get(row)
        return None if packed is None else self._unpack(row, packed)

    def by_digest(self, digest: bytes) -> KeyRecord | None:
        """The key that has this secret, or had it before its rotation."""
        row = self._by_digest.get(digest[:_INDEXED])
        packed = None if row is None else self._rows.get(row)
        if row is None or packed is None or digest not in _digests(packed):
            return None
        return self._unpack(row, packed)

    @property
    def rows(self) -> Iterator[int]:
        return iter(self._rows)

    def __contains__(self, record: object) -> bool:
        return isinstance(record, KeyRecord) and record in list(self)

    def __iter__(self) -> Iterator[KeyRecord]:
        return (self._unpack(row, packed) for row, packed in self._rows.items())

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, tuple):
            return tuple(self) == other
        if not isinstance(other, KeyTable):
            return NotImplemented
        return self._rows == other._rows and self._rules == other._rules

    __hash__ = None  # type: ignore[assignment]  # it can change

    def _unpack(self, row: int, packed: _Packed) -> KeyRecord:
        return KeyRecord(
            prefix=packed.prefix,
            digest=packed.digest.hex(),
            name=packed.name,
            scopes=packed.scopes,
            tenant=packed.tenant,
            expires=packed.expires,
            consumer=packed.consumer,
            limits=packed.limits,
            created=packed.created,
            row=max(row, 0),
            environment=packed.environment,
            rules=self._rules.get(row),
            retired=tuple([RetiredDigest(digest.hex(), until) for digest, until in packed.retired])
            if packed.retired
            else (),
        )


def _pack(record: KeyRecord) -> _Packed:
    return _Packed(
        digest=bytes.fromhex(record.digest),
        prefix=record.prefix,
        name=record.name,
        scopes=record.scopes,
        consumer=record.consumer,
        expires=record.expires,
        tenant=record.tenant,
        environment=record.environment,
        limits=record.limits,
        created=record.created,
        retired=tuple([(bytes.fromhex(item.digest), item.until) for item in record.retired]),
    )


def _digests(packed: _Packed) -> tuple[bytes, ...]:
    return (packed.digest, *[digest for digest, _ in packed.retired]) if packed.retired else (packed.digest,)
