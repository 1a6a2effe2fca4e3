"""Many records in little memory: packed, and unpacked when they are used."""

from collections.abc import Iterator, MutableMapping
from typing import Any, Generic, TypeVar

import msgspec

R = TypeVar("R", bound=msgspec.Struct)


class PackedRows(MutableMapping[int, R], Generic[R]):
    """Records by the id of their row, each as MessagePack: a tenth of the memory of Python objects, and nothing for
    the garbage collector to traverse.

    Only one thread may write at a time; others may read meanwhile.
    """

    __slots__ = ("_decoder", "_rows")

    def __init__(self, kind: type[R]) -> None:
        self._rows: dict[int, bytes] = {}
        self._decoder = msgspec.msgpack.Decoder(kind)

    def containing(self, text: str) -> Iterator[R]:
        """The records that have this text as a value, and perhaps others. In a search of all."""
        wanted = msgspec.msgpack.encode(text)
        for packed in list(self._rows.values()):
            if wanted in packed:
                yield self._decoder.decode(packed)

    def get(self, row: int, default: Any = None) -> R | Any:
        packed = self._rows.get(row)
        return default if packed is None else self._decoder.decode(packed)

    def __getitem__(self, row: int) -> R:
        return self._decoder.decode(self._rows[row])

    def __setitem__(self, row: int, record: R) -> None:
        self._rows[row] = msgspec.msgpack.encode(record)

    def __delitem__(self, row: int) -> None:
        del self._rows[row]

    def __contains__(self, row: object) -> bool:
        return row in self._rows

    def __iter__(self) -> Iterator[int]:
        return iter(list(self._rows))

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return self._rows == other._rows if isinstance(other, PackedRows) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # it can change
