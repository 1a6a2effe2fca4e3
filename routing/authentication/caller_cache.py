"""Verified callers by token, so that a token is verified once."""

from collections import OrderedDict
from hashlib import sha256
from threading import Lock
from typing import Final, NamedTuple

from routing.authentication.token_parts import MAX_TOKEN_LENGTH
from routing.caller import Caller

MAX_CACHED: Final = 10_000
CACHE_SECONDS: Final = 300.0


class _CachedCaller(NamedTuple):
    caller: Caller
    expires: float
    kid: str


class CallerCache:
    """An LRU cache of callers by token digest. Written by threads, read by the event loop. `seconds` is the longest
    time that a caller is kept.
    """

    def __init__(self, seconds: float = CACHE_SECONDS) -> None:
        self._seconds: Final = seconds
        self._entries: Final[OrderedDict[bytes, _CachedCaller]] = OrderedDict()
        self._lock: Final = Lock()

    def find(self, token: str, now: float) -> Caller | None:
        """The caller of a token. `now` is Unix time."""
        return None if len(token) > MAX_TOKEN_LENGTH or not token.isascii() else self.get(digest_of(token), now)

    def get(self, digest: bytes, now: float) -> Caller | None:
        with self._lock:
            entry = self._entries.get(digest)
            if entry is None:
                return None
            if entry.expires <= now:
                del self._entries[digest]
                return None
            self._entries.move_to_end(digest)
            return entry.caller

    def put(self, digest: bytes, kid: str, caller: Caller, now: float, seconds: float | None = None) -> None:
        """Keep a caller whose token was signed by the key `kid`, for `seconds` at most."""
        expires = now + min(self._seconds, self._seconds if seconds is None else seconds)
        if caller.expires is not None:
            expires = min(expires, caller.expires)
        with self._lock:
            self._entries[digest] = _CachedCaller(caller, expires, kid)
            self._entries.move_to_end(digest)
            if len(self._entries) > MAX_CACHED:
                self._entries.popitem(last=False)

    def drop_keys(self, kids: frozenset[str]) -> None:
        """Forget the callers of tokens that these keys signed."""
        with self._lock:
            for digest in [digest for digest, entry in self._entries.items() if entry.kid in kids]:
                del self._entries[digest]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


def digest_of(token: str) -> bytes:
    return sha256(token.encode()).digest()
