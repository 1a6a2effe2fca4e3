"""The signing keys of an issuer, shared by all workers: one of them fetches, and the others read its result."""

import asyncio
import contextlib
import hmac
import time
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import Any, Final, Protocol, TypeVar
from uuid import uuid4

import msgspec

from resilience.outage import StoreUnavailable
from routing.authentication import jwks
from routing.authentication.discovery import KeySetClient
from routing.authentication.key_endpoint import Cause, FetchedKeys, KeyFetchFailed
from routing.authentication.signing_keys import UNKNOWN_SECONDS

KEEP_SECONDS: Final = 24 * 3_600.0
"""How long keys are used, and kept in the store, while their issuer is away."""
WAIT_SECONDS: Final = 6.0
"""How long a worker waits for the fetch of another."""
POLL_SECONDS: Final = 0.05
RETRY_SECONDS: Final = 1.0
ASKED_SECONDS: Final = UNKNOWN_SECONDS - 1.0
"""For how long after a fetch for a token's sake others of the same cause get its result: a second less than each
worker's own interval, which begins a moment earlier.
"""
STORE_SECONDS: Final = 2.0
"""The time limit of one call to the store."""
_TAG_BYTES: Final = 32
T = TypeVar("T")


class SharedStore(Protocol):
    """Raises StoreUnavailable."""

    async def read(self, name: str) -> bytes | None: ...

    async def write(self, name: str, value: bytes, seconds: float) -> None: ...

    async def claim(self, name: str, owner: str) -> bool: ...

    async def release(self, name: str, owner: str) -> None: ...


class _SharedKeys(msgspec.Struct, frozen=True, array_like=True):
    """A key set as workers share it. `seconds` is how long it is fresh. `asked` is when keys were last fetched for each
    cause but REFRESH.
    """

    requested_at: float
    seconds: float
    body: bytes
    asked: dict[str, float] = msgspec.field(default_factory=dict)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_SharedKeys).decode


class SharedKeySource:
    """Called in a thread by SigningKeys; the store's calls run on `loop`.

    `name` is the issuer's in the store. What is stored is authenticated with `secret`: nobody who can write to the
    store can add a key. `clock` is Unix time.
    """

    def __init__(
        self,
        client: KeySetClient,
        store: SharedStore,
        loop: asyncio.AbstractEventLoop,
        *,
        name: str,
        secret: bytes,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._store = store
        self._loop = loop
        self._name = f"issuer-keys:{blake2b(name.encode(), digest_size=16).hexdigest()}"
        self._secret = secret
        self._clock = clock
        self._owner = uuid4().hex
        self._held_at = 0.0

    def __call__(self, cause: Cause = Cause.REFRESH) -> FetchedKeys:
        """The issuer's keys now: to refresh, newer ones than those returned before; for a token's sake, those that were
        fetched now, or lately for the same cause. Raises KeyFetchFailed.
        """
        fetched = self._shared(cause)
        self._held_at = fetched.requested_at or 0.0
        return fetched

    def _shared(self, cause: Cause) -> FetchedKeys:
        """The stored keys. Asks twice: a process that is busy with its own start may time out at first."""
        for pause in (RETRY_SECONDS, 0.0):
            try:
                return self._take_or_fetch(cause)
            except (StoreUnavailable, TimeoutError):
                time.sleep(pause)
        return self._parsed(self._fetch(cause, None))

    def _take_or_fetch(self, cause: Cause) -> FetchedKeys:
        give_up = time.monotonic() + WAIT_SECONDS
        while True:
            usable = self._usable(self._stored(), cause)
            if usable is not None:
                return usable
            if self._run(self._store.claim(self._name, self._owner)):
                return self._fetch_for_all(cause)
            if time.monotonic() > give_up:
                raise KeyFetchFailed("another worker's fetch does not end")
            time.sleep(POLL_SECONDS)

    def _fetch_for_all(self, cause: Cause) -> FetchedKeys:
        """With the lease. Another worker may have fetched between our look at the store and our claim."""
        try:
            stored = self._stored()
            usable = self._usable(stored, cause)
            if usable is not None:
                return usable
            try:
                shared = self._fetch(cause, stored)
                fetched = self._parsed(shared)
            except KeyFetchFailed as error:
                return self._last_known(error)
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                self._run(self._store.write(self._name, self._sealed(shared), KEEP_SECONDS))
            return fetched
        finally:
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                self._run(self._store.release(self._name, self._owner))

    def _usable(self, shared: _SharedKeys | None, cause: Cause) -> FetchedKeys | None:
        """What another worker has fetched, if it is fresh, and is a result for this cause."""
        now = self._clock()
        if shared is None or not 0 <= now - shared.requested_at < shared.seconds:
            return None
        if cause is Cause.REFRESH:
            return self._parsed(shared) if shared.requested_at > self._held_at else None
        asked_at = shared.asked.get(cause)
        if asked_at is None or not 0 <= now - asked_at < ASKED_SECONDS:
            return None
        return msgspec.structs.replace(self._parsed(shared), asked_at=asked_at)

    def _last_known(self, failure: KeyFetchFailed) -> FetchedKeys:
        """The keys of an earlier fetch, for a worker that has none because it was started since."""
        shared = self._stored() if not self._held_at else None
        if shared is None:
            raise failure
        return msgspec.structs.replace(self._parsed(shared), fault=str(failure))

    def _fetch(self, cause: Cause, before: _SharedKeys | None) -> _SharedKeys:
        requested_at = self._clock()
        document = self._client.fetch()
        asked = {} if before is None else before.asked
        if cause is not Cause.REFRESH:
            asked = {**asked, cause.value: requested_at}
        return _SharedKeys(requested_at, document.seconds, document.body, asked)

    def _parsed(self, shared: _SharedKeys) -> FetchedKeys:
        try:
            keys = jwks.parse(shared.body)
        except ValueError as error:
            raise KeyFetchFailed(str(error)) from None
        expiries = dict.fromkeys(keys, shared.requested_at + KEEP_SECONDS)
        return FetchedKeys(dict(keys), expiries, shared.seconds, shared.requested_at)

    def _stored(self) -> _SharedKeys | None:
        value = self._run(self._store.read(self._name))
        if value is None or not hmac.compare_digest(value[:_TAG_BYTES], self._tag(value[_TAG_BYTES:])):
            return None
        try:
            return _decode(value[_TAG_BYTES:])
        except msgspec.DecodeError:
            return None

    def _sealed(self, shared: _SharedKeys) -> bytes:
        content: bytes = _encode(shared)
        return self._tag(content) + content

    def _tag(self, content: bytes) -> bytes:
        return blake2b(self._name.encode() + b"\0" + content, digest_size=_TAG_BYTES, key=self._secret).digest()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a call to the store. Raises StoreUnavailable, or TimeoutError."""
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed: the process ends
            work.close()
            raise StoreUnavailable from None
        return future.result(STORE_SECONDS)
