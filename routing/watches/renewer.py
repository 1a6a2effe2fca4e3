"""Makes, renews and ends one watch, by requests through the gateway: with the service's credential, limits and circuit
breaker. The caller has claimed the watch.
"""

import contextlib
import random
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import msgspec

from resilience.outage import StoreUnavailable
from routing.errors import GatewayError
from routing.http import Headers, Request, Response
from routing.messages.bodies import read_up_to
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.pipeline import Gateway
from routing.router.paths import PREFIX
from routing.watches import google
from routing.watches import record as rules
from routing.watches.google import GoogleResponse
from routing.watches.record import Failure, Granted, Wanted, WatchRecord
from routing.watches.store import WatchStore
from routing.watches.wanted import OWN_MAILBOX, covered_tags
from routing.webhooks.policy import Verify, Watch, Webhook

MAX_RESPONSE_BYTES: Final = 64 * 1_024
RENEWED: Final = "watch_renewed"
FAILED: Final = "watch_failed"
_CLIENT: Final = "127.0.0.1"


class LostClaim(Exception):
    """Another worker has taken over: this one must not write any more."""


class Invalidator(Protocol):
    """resilience.cache.driver.Cache."""

    async def invalidate(self, service: str, tags: list[str] | None = None) -> int: ...


class Renewer:
    """`host` is a name that the gateway answers for, `clock` Unix time. `count` takes a webhook's name and what has
    happened, for the metrics.
    """

    def __init__(
        self,
        gateway: Gateway,
        cache: Invalidator,
        store: WatchStore,
        *,
        host: bytes,
        clock: Callable[[], float],
        count: Callable[[str, str], None],
        emit: EventSink,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._gateway = gateway
        self._cache = cache
        self._store = store
        self._host = host
        self._clock = clock
        self._count = count
        self._emit = emit
        self._jitter = jitter

    async def run(self, record: WatchRecord, wanted: Wanted, owner: str, *, force: bool = False) -> None:
        """Do what is due for a watch. Raises LostClaim, or StoreFailed."""
        webhook = self._gateway.live.table.webhooks.get(wanted.webhook)
        if webhook is None or webhook.watch is None:
            return
        is_due = force or record.is_outdated(wanted) or self._clock() >= record.renew_at
        record = msgspec.structs.replace(record, tenant=wanted.tenant)
        if is_due:
            record = await self._renew(webhook, webhook.watch, record, wanted, owner)
        record = await self._stop_superseded(record, owner)
        record = await self._invalidate(webhook, record)
        await self._save(rules.settled(record, self._clock()), owner)

    async def end(self, record: WatchRecord, owner: str, *, stops_mailbox: bool) -> bool:
        """Whether a watch that is not wanted any more is over, as far as can be done. If not, it is tried again later.

        Ending a mailbox's watch ends those for other webhooks too: `stops_mailbox` is false where there are any.
        """
        if record.channel or record.superseded:
            record = rules.without_channel(record, self._clock())
            record = rules.settled(await self._stop_superseded(record, owner), self._clock())
            await self._save(record, owner)
            return not record.superseded
        if not stops_mailbox or record.expires_at <= self._clock():
            return True
        reply = await self._send(record.service, record, google.mailbox_stop_request(record.base, record.resource))
        if isinstance(reply, GoogleResponse) and reply.status < 500 and reply.status != 429:
            return True
        record = rules.not_ended(record, self._clock())
        await self._save(record, owner)
        return record.failures >= rules.MAX_STOP_TRIES

    async def _renew(
        self, webhook: Webhook, watch: Watch, record: WatchRecord, wanted: Wanted, owner: str
    ) -> WatchRecord:
        is_channel = webhook.verify is Verify.GOOGLE_CHANNEL
        channel = str(uuid.uuid4()) if is_channel else ""
        record = msgspec.structs.replace(record, base=watch.base)
        if is_channel:
            record = await self._save(rules.begun(record, wanted.service, channel, self._clock()), owner)
        result = await self._watch(webhook, watch, record, wanted, channel)
        if isinstance(result, Failure) and google.is_watched_by_another(result):
            await self._send(wanted.service, record, google.mailbox_stop_request(watch.base, wanted.resource))
            result = await self._watch(webhook, watch, record, wanted, channel)
            record = msgspec.structs.replace(record, stale=True)
        now = self._clock()
        if isinstance(result, Failure):
            self._report(BackendEventKind.WATCH_FAILED, FAILED, wanted, f"{result.code}: {result.detail}")
            return await self._save(
                rules.failed(record, wanted, channel, result, now=now, jitter=self._jitter()), owner
            )
        due = rules.renewal_time(webhook, now, result.expires_at, self._jitter())
        self._report(BackendEventKind.WATCH_RENEWED, RENEWED, wanted, "")
        return await self._save(rules.renewed(record, wanted, channel, result, renew_at=due, now=now), owner)

    async def _watch(
        self, webhook: Webhook, watch: Watch, record: WatchRecord, wanted: Wanted, channel: str
    ) -> Granted | Failure:
        request = google.watch_request(webhook, watch, wanted.resource, channel)
        reply = await self._send(wanted.service, record, request)
        if isinstance(reply, Failure):
            return reply
        return google.read_grant(webhook, channel, reply, self._clock())

    async def _stop_superseded(self, record: WatchRecord, owner: str) -> WatchRecord:
        """Stop channels that have been replaced. Of one whose response never arrived, the resource is that of its
        successor.
        """
        for item in record.superseded:
            resource_id = item.resource_id or record.resource_id
            if not resource_id or item.until <= self._clock():
                continue
            request = google.channel_stop_request(record.base, item.channel, resource_id)
            reply = await self._send(item.service, record, request)
            status = reply.status if isinstance(reply, GoogleResponse) else 0
            if 200 <= status < 300 or status in google.GONE:
                is_gone = status in google.GONE
                record = rules.stopped(record, item.channel, is_gone=is_gone, now=self._clock())
            else:
                record = rules.not_stopped(record, item.channel)
            record = await self._save(record, owner)
        return record

    async def _invalidate(self, webhook: Webhook, record: WatchRecord) -> WatchRecord:
        """End the cached responses that a notification may have been missed for."""
        if not record.stale:
            return record
        tags = covered_tags(webhook, self._gateway.live.table.services.get(webhook.service), record)
        try:
            if tags is None or tags:
                await self._cache.invalidate(webhook.service, tags)
        except StoreUnavailable:
            return record
        return msgspec.structs.replace(record, stale=False)

    async def _send(self, service: str, record: WatchRecord, request: google.Request) -> GoogleResponse | Failure:
        try:
            response = await self._gateway.refetch(self._request(service, record, request))
            return GoogleResponse(response.status, response.headers, await _read(response))
        except GatewayError as error:
            return google.read_error(error)

    def _request(self, service: str, record: WatchRecord, request: google.Request) -> Request:
        headers: Headers = [
            (b"host", self._host),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(request.body)),
        ]
        scopes = self._scopes(service)
        return Request(
            "POST",
            PREFIX + service.encode() + request.path.encode(),
            b"",
            headers,
            _CLIENT,
            body=_body(request.body) if request.body else None,
            caller=rules.caller_of(record, scopes),
        )

    def _scopes(self, name: str) -> frozenset[str]:
        """Every scope that the service requires: staff have configured the watch for it."""
        service = self._gateway.live.table.services.get(name)
        policies = [service.policy, *(route.policy for route in service.routes)] if service else []
        return frozenset({name, *(scope for policy in policies for scope in policy.scopes)})

    async def _save(self, record: WatchRecord, owner: str) -> WatchRecord:
        if not await self._store.save(record, owner):
            raise LostClaim
        return record

    def _report(self, kind: BackendEventKind, outcome: str, wanted: Wanted, detail: str) -> None:
        self._count(wanted.webhook, outcome)
        account = "" if wanted.subject == rules.SERVICE or wanted.resource != OWN_MAILBOX else f" of {wanted.subject}"
        text = f"{wanted.webhook}, {wanted.resource}{account}"
        self._emit(BackendEvent(kind=kind, service=wanted.service, target=text, detail=detail))


async def _body(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _read(response: Response) -> bytes:
    """The body, cut at MAX_RESPONSE_BYTES. Raises GatewayError."""
    if isinstance(response.body, bytes):
        return response.body
    async with contextlib.aclosing(response.body) as body:
        chunks, _ = await read_up_to(body, MAX_RESPONSE_BYTES)
    return b"".join(chunks)
