"""What workers tell each other about a credential: its encrypted record, and the lease on refreshing it.

While the store is unavailable, each worker has tokens of its own.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from resilience.outage import StoreUnavailable
from routing.credentials import record as rules
from routing.credentials.cipher import Cipher
from routing.credentials.holder import Holder
from routing.credentials.record import TokenRecord
from routing.credentials.store import Store

POLL_SECONDS: Final = 0.05
"""How often a worker that waits for another one's refresh looks for the result."""
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(TokenRecord).decode


class SharedRecords:
    """`clock` is the Unix time that workers share."""

    def __init__(self, store: Store, cipher: Cipher, clock: Callable[[], float]) -> None:
        self._store = store
        self._cipher = cipher
        self._clock = clock
        self._owner = secrets.token_hex(8)

    async def claim(self, holder: Holder, refused: str) -> bool:
        """Wait until this worker has to refresh: True with the lease, False if another worker has settled it.

        `refused` is the token that the backend does not accept, if that is why.
        """
        while True:
            try:
                if await self._store.claim(holder.lease_name, self._owner_of(holder)):
                    # Another worker may have refreshed it between the last look and the lease.
                    return not await self._adopt_and_release(holder, refused)
                if await self._adopt(holder, refused):
                    return False
            except StoreUnavailable:
                return True
            await asyncio.sleep(POLL_SECONDS)

    @asynccontextmanager
    async def lock(self, holder: Holder) -> AsyncIterator[None]:
        """Let nobody refresh this credential, nor any other that has the same refresh token."""
        with contextlib.suppress(StoreUnavailable):
            while not await self._store.claim(holder.lease_name, self._owner_of(holder)):  # noqa: ASYNC110 - is elsewhere
                await asyncio.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            await self.release(holder)

    def _owner_of(self, holder: Holder) -> str:
        """Another one for each holder: several in this worker may have one refresh token."""
        return f"{self._owner}-{id(holder)}"

    async def release(self, holder: Holder) -> None:
        with contextlib.suppress(StoreUnavailable):  # it ends by itself
            await self._store.release(holder.lease_name, self._owner_of(holder))

    async def write(self, holder: Holder) -> None:
        """Share what this worker holds with the others."""
        record = holder.record
        with contextlib.suppress(StoreUnavailable):
            value = self._cipher.encrypt(holder.name, _encode(record))
            await self._store.write(holder.name, value, record.keeps_for(self._clock()))

    async def remove(self, holder: Holder) -> None:
        """Remove the record, and let all workers forget it. Raises StoreUnavailable."""
        await self._store.remove(holder.name)
        await self._store.announce(holder.service)

    async def announce(self, service: str) -> None:
        """Let all workers forget what they know of a service's credentials. Raises StoreUnavailable."""
        await self._store.announce(service)

    async def _adopt_and_release(self, holder: Holder, refused: str) -> bool:
        settled = await self._adopt(holder, refused)
        if settled:
            await self.release(holder)
        return settled

    async def _adopt(self, holder: Holder, refused: str) -> bool:
        """Take over what another worker has found, if that settles this refresh. Raises StoreUnavailable."""
        shared = await self._read(holder)
        if shared is None:
            return False
        now, own = self._clock(), holder.record
        if shared.is_valid(now) and shared.access_token not in (refused, own.access_token):
            holder.hold(shared)
            return now < holder.refresh_at or not shared.may_try(now)
        if shared.failed_at > own.failed_at and not shared.may_try(now):
            holder.record = rules.with_failure_of(rules.without_token(own) if refused else own, shared)
            return True
        return False

    async def _read(self, holder: Holder) -> TokenRecord | None:
        """None also for what cannot be decrypted: it is of an earlier key, or was written by another program."""
        value = await self._store.read(holder.name)
        content = None if value is None else self._cipher.decrypt(holder.name, value)
        try:
            return None if content is None else _decode(content)
        except msgspec.DecodeError:
            return None
