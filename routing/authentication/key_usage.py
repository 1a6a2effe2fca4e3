"""When, from where and for what keys were used last: recorded in memory, and written elsewhere in batches."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

MAX_KEYS: Final = 10_000
"""Keys, and replaced secrets, whose use is recorded between two writes. The use of others is not recorded."""


class LastUse(msgspec.Struct):
    """`at` is Unix time, `client` the address. `uses` counts the requests of a secret that was replaced."""

    at: float
    client: str
    service: str
    uses: int = 0


Uses = Mapping[str, LastUse]


class KeyUsage:
    """Uses by a key's prefix, and of replaced secrets by their digest. Used by the event loop and by Django's threads:
    every operation is one of a dictionary.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock: Final = clock
        self._keys: dict[str, LastUse] = {}
        self._retired: dict[str, LastUse] = {}

    def used(self, caller_id: str, client: str, service: str) -> None:
        """A caller has been identified; only keys are recorded."""
        kind, _, prefix = caller_id.partition(":")
        if kind == "key" and (prefix in self._keys or len(self._keys) < MAX_KEYS):
            self._keys[prefix] = LastUse(self._clock(), client, service)

    def used_retired(self, digest: str, client: str, service: str) -> None:
        """A request has come with a secret that was replaced."""
        before = self._retired.get(digest)
        if before is not None or len(self._retired) < MAX_KEYS:
            self._retired[digest] = LastUse(self._clock(), client, service, 1 + (before.uses if before else 0))

    def take(self) -> tuple[dict[str, LastUse], dict[str, LastUse]]:
        """All that was recorded since the last call, by prefix and by digest."""
        keys, self._keys = self._keys, {}
        retired, self._retired = self._retired, {}
        return keys, retired

    def put_back(self, keys: Uses, retired: Uses) -> None:
        """Keep for the next call what could not be written yet."""
        for prefix, use in keys.items():
            if prefix not in self._keys and len(self._keys) < MAX_KEYS:
                self._keys[prefix] = use
        for digest, use in retired.items():
            later = self._retired.get(digest)
            if later is not None:
                later.uses += use.uses
            elif len(self._retired) < MAX_KEYS:
                self._retired[digest] = use
