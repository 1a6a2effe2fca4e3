"""Credentials for backends as requests use them: the present token without waiting, or a wait for one refresh.

One worker of the cluster refreshes, while it holds a lease; the others find its result in the shared store.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec

from resilience.outage import StoreUnavailable
from resilience.task_set import TaskSet
from routing.caller import Caller
from routing.credentials import record as rules
from routing.credentials.cipher import Cipher
from routing.credentials.grants import Subject
from routing.credentials.holder import Holder
from routing.credentials.record import TokenRecord
from routing.credentials.refresher import NotConnected, Refresher
from routing.credentials.shared import SharedRecords
from routing.credentials.store import Store
from routing.credentials.subjects import subject_of
from routing.credentials.token_response import TokenRequestFailed, TokenResponse
from routing.errors import CredentialFailed, Forbidden
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.router.credential_policy import CredentialPolicy, Per

log = logging.getLogger(__name__)

MAX_HOLDERS: Final = 20_000
"""Credentials that a worker keeps in memory, one for each caller of a service whose callers have their own."""
NOT_CONNECTED_SECONDS: Final = 2.0
"""How long it is remembered that no account is connected, in case the message of a connection is lost."""
REFUSED: Final = "refused_by_service"
"""The code of a token that the backend does not accept, though the token endpoint has just returned it."""
TICK_SECONDS: Final = 1.0
"""How often credentials in use are checked for one that is due."""


class Credentials:
    """`secret` is the key of digests, the same in all workers. `clock` is the Unix time that workers share."""

    def __init__(
        self,
        store: Store,
        refresher: Refresher,
        cipher: Cipher,
        *,
        secret: bytes,
        emit: EventSink = lambda _event: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shared = SharedRecords(store, cipher, clock)
        self._refresher = refresher
        self._secret = secret
        self._emit = emit
        self._clock = clock
        self._holders: dict[tuple[str, int, str], Holder] = {}
        self._tasks = TaskSet()

    def of(self, service: str, policy: CredentialPolicy, caller: Caller | None) -> Holder:
        """The credential for a caller's requests. Raises Forbidden for one that cannot have any."""
        return self.of_subject(service, policy, subject_of(policy, caller, service))

    def of_subject(self, service: str, policy: CredentialPolicy, subject: Subject) -> Holder:
        key = service, id(policy), subject.id
        holder = self._holders.get(key)
        if holder is None or holder.policy is not policy:
            if len(self._holders) >= MAX_HOLDERS:
                del self._holders[next(iter(self._holders))]
            holder = self._holders[key] = Holder(service, policy, subject, self._secret)
        return holder

    def try_use(self, holder: Holder) -> bool:
        """Whether its `field` can be sent now. Starts the refresh of a token that ends soon, without waiting for it."""
        now = self._clock()
        if not holder.record.is_valid(now):
            return False
        holder.is_used = True
        if now >= holder.refresh_at and holder.task is None and holder.record.may_try(now):
            self._start(holder, "")
        return True

    async def use(self, holder: Holder) -> None:
        """Wait until its `field` can be sent. Raises CredentialFailed, or Forbidden if no account is connected."""
        if self.try_use(holder):
            return
        now = self._clock()
        if holder.task is None and holder.record.may_try(now) and not now < holder.not_connected_until:
            self._start(holder, "")
        if holder.task is not None:
            await asyncio.shield(holder.task)
        if not self.try_use(holder):
            raise self._error(holder)

    async def replace(self, holder: Holder, refused: bytes) -> bool:
        """Whether `field` now has another token than `refused`, which the backend does not accept. False if that is not
        tried now, or if the endpoint has returned the same token: it is not asked again for a while. Raises
        CredentialFailed or Forbidden if there is no token any more.

        Many callers may report the same token: the first one causes a refresh.
        """
        now = self._clock()
        if holder.field[1] == refused and holder.task is None:
            if holder.record.was_refused(now) or not holder.record.may_try(now):
                return False
            self._start(holder, holder.record.access_token)
        if holder.task is not None:
            await asyncio.shield(holder.task)
        await self.use(holder)
        await self.refused_again(holder, refused)
        return holder.field[1] != refused

    async def refused_again(self, holder: Holder, refused: bytes) -> None:
        """Remember that the backend refuses the token that the endpoint returns now: none is fetched for a while."""
        now = self._clock()
        if holder.field[1] == refused and not holder.record.was_refused(now):
            holder.record = msgspec.structs.replace(holder.record, refused_at=now)
            self._event(holder, BackendEventKind.CREDENTIAL_FAILED, REFUSED)
            await self._shared.write(holder)
            self._tasks.create(self._refresher.report(holder, now, REFUSED))  # nobody waits for the database

    async def forget(self, service: str, policy: CredentialPolicy, subject: Subject) -> None:
        """Drop the token and what failed, in all workers. Raises StoreUnavailable."""
        holder = self.of_subject(service, policy, subject)
        self.forget_service(service)
        await self._shared.remove(holder)

    def lock(self, holder: Holder) -> AbstractAsyncContextManager[None]:
        """Let no worker refresh the credential meanwhile: it would store what descends from the former account."""
        return self._shared.lock(holder)

    async def connected(self, holder: Holder, tokens: TokenResponse) -> None:
        """Use the first token of an account that has just been connected, in all workers."""
        holder.hold(rules.renewed(TokenRecord(), tokens, self._clock()))
        await self._shared.write(holder)
        self.forget_service(holder.service)
        with contextlib.suppress(StoreUnavailable):
            await self._shared.announce(holder.service)

    def forget_service(self, service: str) -> None:
        """Drop what this worker knows of a service's credentials; the shared store is read again."""
        for key in [key for key in self._holders if key[0] == service]:
            del self._holders[key]

    async def run(self) -> None:
        """Refresh credentials that are in use before they end, also where requests are few."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self._clock()
            for key, holder in list(self._holders.items()):
                if holder.task is not None or not holder.record.may_try(now):
                    continue
                if not holder.record.is_valid(now):
                    del self._holders[key]  # of an earlier configuration, or of a caller who is gone
                elif holder.is_used and now >= holder.refresh_at:
                    self._start(holder, "")

    async def close(self) -> None:
        """Let refreshes end: what a token endpoint has rotated must be stored."""
        await self._tasks.wait()

    def _start(self, holder: Holder, refused: str) -> None:
        holder.task = self._tasks.create(self._refresh(holder, refused))

    async def _refresh(self, holder: Holder, refused: str) -> None:
        try:
            if await self._shared.claim(holder, refused):
                try:
                    await self._fetch(holder, refused)
                finally:
                    await self._shared.release(holder)
        except Exception:
            log.exception("a credential of the service %s could not be refreshed", holder.service)
            holder.record = rules.failed(holder.record, TokenRequestFailed("internal_error"), self._clock())
        finally:
            holder.task = None

    async def _fetch(self, holder: Holder, refused: str) -> None:
        """Request a token, and share the result."""
        if refused:
            holder.record = rules.without_token(holder.record)
        now = self._clock()
        try:
            tokens = await self._refresher.fetch(holder)
        except NotConnected:
            holder.not_connected_until, holder.record = now + NOT_CONNECTED_SECONDS, TokenRecord()
            return
        except TokenRequestFailed as error:
            holder.record = rules.failed(holder.record, error, now)
            self._event(holder, BackendEventKind.CREDENTIAL_FAILED, error.code)
        else:
            holder.hold(rules.renewed(holder.record, tokens, now))
            self._event(holder, BackendEventKind.CREDENTIAL_REFRESHED, "")
        await self._shared.write(holder)
        self._tasks.create(self._refresher.report(holder, self._clock()))  # nobody waits for the database

    def _event(self, holder: Holder, kind: BackendEventKind, detail: str) -> None:
        self._emit(BackendEvent(kind=kind, service=holder.service, detail=detail))

    def _error(self, holder: Holder) -> CredentialFailed | Forbidden:
        policy, now, page = holder.policy, self._clock(), f"/connect/{holder.service}/"
        if now < holder.not_connected_until:
            whose = "the service" if policy.per is Per.SERVICE else f"this {policy.per.value}"
            return Forbidden(f"no account of {whose} is connected: connect one at {page}", service=holder.service)
        detail = "the gateway could not obtain a credential for the service"
        if policy.authorize_url and TokenRequestFailed(holder.record.failure).ends_grant:
            detail = f"the connected account was revoked or has expired: connect it again at {page}"
        left = max(1.0, holder.record.retry_at - now)
        return CredentialFailed(detail, service=holder.service, retry_after=left)
