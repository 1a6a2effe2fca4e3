"""The identities of consumers, by what they name."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

import msgspec

from routing.consumers.packed import PackedRows
from routing.consumers.policy import UserBinding


class IdentityRecord(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """A stored identity and the row of its consumer. `scopes` are those of a client certificate, if it has any."""

    consumer: int
    issuer: str
    subject: str = ""
    tenant: str = ""
    scopes: tuple[str, ...] | None = None

    @property
    def identity(self) -> UserBinding:
        return UserBinding(issuer=self.issuer, subject=self.subject, tenant=self.tenant)


class IdentityTable(Mapping[UserBinding, int]):
    """The row of the consumer that has an identity. Written like `PackedRows`."""

    __slots__ = ("_by_digest", "rows")

    def __init__(self) -> None:
        self.rows = PackedRows(IdentityRecord)
        self._by_digest: dict[bytes, int] = {}

    def put(self, row: int, record: IdentityRecord) -> None:
        self.remove(row)
        self.rows[row] = record
        self._by_digest[_digest(record.identity)] = row

    def remove(self, row: int) -> None:
        if row not in self.rows:
            return
        old = self.rows.pop(row)
        # Another row may have the identity now.
        if self._by_digest.get(digest := _digest(old.identity)) == row:
            del self._by_digest[digest]

    def apply(self, changes: Mapping[int, IdentityRecord | None]) -> None:
        """Replace these rows, and remove those that are None."""
        for row in changes:
            self.remove(row)
        for row, record in changes.items():
            if record is not None:
                self.put(row, record)

    def __getitem__(self, identity: UserBinding) -> int:
        return self._record(identity).consumer

    def scopes(self, identity: UserBinding) -> frozenset[str] | None:
        """The scopes of an identity that the table has; None if it has none of its own."""
        found = self._record(identity).scopes
        return None if found is None else frozenset(found)

    def _record(self, identity: UserBinding) -> IdentityRecord:
        record: IdentityRecord = self.rows[self._by_digest[_digest(identity)]]
        if record.identity != identity:
            raise KeyError(identity)
        return record

    def __iter__(self) -> Iterator[UserBinding]:
        return (record.identity for record in self.rows.values())

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return self.rows == other.rows if isinstance(other, IdentityTable) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # it can change


def _digest(identity: UserBinding) -> bytes:
    """Unambiguous: a token's subject may contain anything."""
    issuer, tenant = identity.issuer, identity.tenant
    text = f"{len(issuer)}:{issuer}{len(tenant)}:{tenant}{identity.subject}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
