"""The backend's limits: hold-offs after it has limited calls, and limits of the calls to it. Part of steps 6 and 7."""

import asyncio
from collections.abc import Callable, Mapping
from hashlib import blake2b
from math import inf
from typing import Final

from resilience.holdoff.driver import Held, HoldOffs, Probe
from resilience.holdoff.memory import MemoryStore as HoldOffMemory
from resilience.holdoff.rules import HoldOff
from resilience.holdoff.waits import announced_wait
from resilience.outbound.driver import OutboundLimited, OutboundLimiter
from resilience.outbound.policy import OutboundPolicy
from resilience.partition import Partition
from resilience.quotas.driver import QuotaBook
from resilience.quotas.store import MemoryStore as QuotaMemory
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore as RateMemory
from routing.backend.client import BackendResponse
from routing.caller import Caller
from routing.credentials.grants import Subject
from routing.credentials.subjects import subject_of
from routing.errors import BackendLimited, Forbidden
from routing.exchange import Exchange
from routing.http import Request
from routing.messages.credentials import CREDENTIALS, is_credential
from routing.messages.own_cookies import OwnCookies
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.router import paths
from routing.router.gateway_cookies import GatewayCookies
from routing.router.policy import RoutePolicy
from routing.router.table import Match

PROBE_GRACE_SECONDS: Final = 5.0
"""How long a probe's lease lasts beyond the longest possible call."""
MAX_PATH: Final = 512
"""Longer paths are compared by their digests."""
_AUTHORIZATION: Final = frozenset({b"authorization", b"proxy-authorization", b"cookie"})


class BackendLimits:
    """`cookies` are the gateway's own, which no backend sees. `secret` is the key of all digests of credentials, the
    same in all workers.
    """

    def __init__(
        self,
        hold_offs: HoldOffs,
        outbound: OutboundLimiter,
        quotas: QuotaBook | None = None,
        *,
        cookies: GatewayCookies | None = None,
        secret: bytes = b"",
        emit: EventSink = lambda _event: None,
    ) -> None:
        self.hold_offs = hold_offs
        self._outbound = outbound
        self._quotas = quotas or QuotaBook(QuotaMemory())
        self._cookies = cookies or GatewayCookies()
        self._secret = secret
        self._emit = emit

    def check(self, exchange: Exchange, held: Mapping[Partition, HoldOff]) -> bool:
        """Whether the call may have to be the probe of one of `held`, its service's hold-offs. Raises BackendLimited.

        A route without `hold_off` ignores the hold-offs of other routes.
        """
        if exchange.match.policy.hold_off is None:
            return False
        call = self._partition(exchange)
        wait = self.hold_offs.retry_after(call)
        if wait is not None:
            raise self._refused(exchange, wait)
        return any(partition in held for partition in call.containing())

    def expected_wait(self, request: Request, match: Match, caller: Caller | None) -> float | None:
        """Seconds until such a call is made again, if it is held off; None if not. Nothing is sent or counted."""
        if match.policy.hold_off is None:
            return None
        subject = None
        if match.policy.credential is not None:
            try:
                subject = subject_of(match.policy.credential, caller, match.service.name)
            except Forbidden:
                return None
        prefix = b"" if paths.split(request.path) is None else paths.PREFIX
        return self.hold_offs.retry_after(self._partition_of(request, match, caller, subject, prefix))

    def is_held(self, exchange: Exchange) -> bool:
        """Whether a hold-off has begun since the call was admitted."""
        return exchange.match.policy.hold_off is not None and (
            self.hold_offs.retry_after(self._partition(exchange)) is not None
        )

    async def probe(self, exchange: Exchange) -> list[Probe]:
        """The probes that this call makes. Raises BackendLimited if another one is in flight."""
        seconds = exchange.match.policy.head_seconds + PROBE_GRACE_SECONDS
        try:
            return await self.hold_offs.enter(self._partition(exchange), seconds)
        except Held as held:
            raise self._refused(exchange, held.retry_after) from None

    def note(self, exchange: Exchange, response: BackendResponse) -> None:
        """Note what the response says remains of the backend's limits."""
        self._quotas.note(exchange.service, response.headers)

    async def limited(self, exchange: Exchange, response: BackendResponse) -> None:
        """The backend has limited the call: hold off, for as long as it demands."""
        policy = exchange.match.policy.hold_off
        if policy is not None:
            wait = announced_wait(response.headers, self.hold_offs.clock())
            await self.hold_offs.limited(self._partition(exchange).by(policy.per), policy, wait)

    async def enter(self, exchange: Exchange) -> Callable[[], None] | None:
        """Count the call under the route's outbound limit, once it is its turn. Returns a function that uncounts it, or
        None without such a limit.

        Raises BackendLimited.
        """
        policy = exchange.match.policy.outbound
        if policy is None:
            return None
        try:
            return await self._count(exchange, policy)
        except OutboundLimited as limited:
            raise self._refused(exchange, limited.retry_after) from None

    async def permits_retry(self, exchange: Exchange, seconds: float) -> bool:
        """Count a retry in the same way. False if it is not its turn within `seconds`: it is not counted then."""
        policy = exchange.match.policy.outbound
        try:
            async with asyncio.timeout(None if seconds == inf else seconds):
                if policy is not None:
                    await self._count(exchange, policy)
        except (OutboundLimited, TimeoutError):
            return False
        return True

    async def _count(self, exchange: Exchange, policy: OutboundPolicy) -> Callable[[], None]:
        """Raises OutboundLimited."""
        caller = exchange.caller.id if exchange.caller else exchange.request.client
        key = "\n".join(self._partition(exchange).by(policy.per).stored)
        return await self._outbound.enter(key, policy, caller)

    def _refused(self, exchange: Exchange, retry_after: float) -> BackendLimited:
        self._emit(BackendEvent(kind=BackendEventKind.REFUSED, service=exchange.service, detail=BackendLimited.code))
        detail = "the service accepts no more calls at the moment"
        return BackendLimited(detail, service=exchange.service, retry_after=retry_after)

    def _partition(self, exchange: Exchange) -> Partition:
        used = exchange.used_credential
        subject = used.holder.subject if used is not None else None
        call = self._partition_of(exchange.request, exchange.match, exchange.caller, subject, exchange.prefix)
        return call._replace(model=exchange.model) if exchange.model else call

    def _partition_of(
        self, request: Request, match: Match, caller: Caller | None, subject: Subject | None, prefix: bytes
    ) -> Partition:
        """`subject` is whose credential of the gateway's the call has, if it has one. `prefix` is the part of the path
        that is the gateway's own.
        """
        path = match.path.removesuffix(b"?").decode("latin-1")
        path = path if len(path) <= MAX_PATH else blake2b(path.encode(), digest_size=16).hexdigest()
        if subject is not None:
            credential = blake2b(subject.id.encode(), digest_size=12, key=self._secret).hexdigest()
        else:
            own = self._cookies.at(prefix, request.fields.get(b"host", b""))
            credential = self._credential(request, match.policy, caller, own)
        return Partition(match.service.name, match.pattern, request.method, path, credential)

    def _credential(self, request: Request, policy: RoutePolicy, caller: Caller | None, own: OwnCookies) -> str:
        """A digest of what the backend is sent about the caller. `own` are the cookies that it is not sent."""
        known = [value for name, value in policy.headers if name in _AUTHORIZATION or name in CREDENTIALS]
        if not known:
            known = [value for name, value in request.headers if _is_credential(policy, name, value, own)]
            known.append(caller.id.encode() if caller else b"" if known else request.client.encode())
        digest = blake2b(digest_size=12, key=self._secret)
        for value in known:
            digest.update(b"%d:%b" % (len(value), value))
        return digest.hexdigest()


def _is_credential(policy: RoutePolicy, name: bytes, value: bytes, own: OwnCookies) -> bool:
    if name == b"authorization":
        return policy.forward_authorization
    if name == b"cookie":
        return bool(own.strip(value))
    return is_credential(name)


def local_limits(clock: Callable[[], float], cookies: GatewayCookies, emit: EventSink) -> BackendLimits:
    """Limits of this worker alone. `clock` gives Unix seconds."""
    outbound = OutboundLimiter(Limiter(RateMemory(), clock=clock))
    return BackendLimits(HoldOffs(HoldOffMemory(), clock=clock), outbound, cookies=cookies, emit=emit)
