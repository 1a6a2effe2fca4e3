"""A watch as the database keeps it, and when it is renewed or tried again. Pure rules; times are Unix seconds."""

from enum import StrEnum
from typing import Final

import msgspec

from routing.caller import Caller
from routing.webhooks.policy import Verify, Webhook

SERVICE: Final = "service"
"""The subject of a watch that is made with the service's own credential, or without any."""
MAILBOX_SHARE: Final = 6 / 7
"""A mailbox's watch is renewed when this share of its lifetime is left: daily, of seven days, as Google advises."""
CHANNEL_SHARE: Final = 1 / 4
CHANNEL_SECONDS: Final = 86_400.0
"""A channel is replaced so long before its end, or when a quarter of a shorter lifetime is left."""
JITTER_SHARE: Final = 0.1
"""Renewals are spread over the last tenth of the time until they are due."""
TRANSIENT_SECONDS: Final = 30.0
MAX_TRANSIENT_SECONDS: Final = 1_800.0
PERMANENT_SECONDS: Final = 600.0
MAX_PERMANENT_SECONDS: Final = 21_600.0
"""The first backoff and the longest, each twice the one before: of failures that may pass, and of those that do not."""
MAX_RETRY_AFTER_SECONDS: Final = 86_400.0
STOP_SECONDS: Final = 60.0
MAX_STOP_TRIES: Final = 10
MAX_SUPERSEDED: Final = 20
UNKNOWN_LIFETIME_SECONDS: Final = 7 * 86_400.0
"""How long a channel may exist whose response never arrived."""


class WatchState(StrEnum):
    """`pending`: not made yet. `ended`: it is over, and notifications are lost until it is renewed."""

    PENDING = "pending"
    ACTIVE = "active"
    FAILING = "failing"
    ENDED = "ended"


class Wanted(msgspec.Struct, frozen=True):
    """A watch that the configuration asks for: one resource of one account. `connected_at` is the account's, `tenant`
    that of the caller whose account it is.
    """

    webhook: str
    subject: str
    resource: str
    service: str
    digest: str
    connected_at: float = 0.0
    tenant: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.webhook, self.subject, self.resource


class Superseded(msgspec.Struct, frozen=True):
    """A channel to be stopped: replaced, or made by a request whose response never arrived. It ends at `until`."""

    service: str
    channel: str
    resource_id: str = ""
    until: float = 0.0
    tries: int = 0


class WatchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`digest` is of the settings that were last tried, `base` the API's path, `channel` the id of a channel.

    `renew_at` is when it is renewed, `due_at` when anything has to be done. `failure` is the code of the last failure,
    empty after a success, and `detail` its explanation. `stale`: changes may have been missed, for which nothing has
    been invalidated yet.
    """

    pk: int
    webhook: str
    subject: str
    resource: str
    service: str
    tenant: str = ""
    base: str = ""
    digest: str = ""
    channel: str = ""
    resource_id: str = ""
    resource_uri: str = ""
    superseded: tuple[Superseded, ...] = ()
    expires_at: float = 0.0
    renewed_at: float = 0.0
    renew_at: float = 0.0
    due_at: float = 0.0
    failure: str = ""
    detail: str = ""
    failures: int = 0
    failed_at: float = 0.0
    stale: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.webhook, self.subject, self.resource

    def state(self, now: float) -> WatchState:
        if self.expires_at and self.expires_at <= now:
            return WatchState.ENDED
        if self.failure:
            return WatchState.FAILING
        return WatchState.ACTIVE if self.expires_at else WatchState.PENDING

    def is_due(self, wanted: Wanted, now: float) -> bool:
        """Whether there is anything to do. Changed settings and an account connected since a failure are due at once.

        So is a clock that was set back by more than any backoff.
        """
        return now >= self.due_at or self.is_outdated(wanted) or self.due_at > now + 400 * 86_400.0

    def is_end_due(self, now: float) -> bool:
        """Whether to end it, since it is not wanted: at once, and again while that fails."""
        return self.renew_at > 0 or now >= self.due_at

    def is_outdated(self, wanted: Wanted) -> bool:
        is_changed = wanted.connected_at > self.failed_at or wanted.tenant != self.tenant
        return self.digest != wanted.digest or (bool(self.failure) and is_changed)


class Granted(msgspec.Struct, frozen=True):
    """What Google returned for a watch."""

    expires_at: float
    resource_id: str = ""
    resource_uri: str = ""


class Failure(msgspec.Struct, frozen=True):
    """`code` and `detail` for staff. `is_gone`: 404 or 410, the resource or channel does not exist any more."""

    code: str
    detail: str = ""
    is_permanent: bool = False
    is_gone: bool = False
    is_ambiguous: bool = False
    retry_after: float = 0.0


def caller_of(record: WatchRecord, scopes: frozenset[str]) -> Caller:
    """The caller on whose behalf a watch is made: the webhook, or the caller or tenant whose account it is."""
    kind, _, name = record.subject.partition(":")
    if kind == "caller":
        return Caller(name, tenant=record.tenant or None, scopes=scopes)
    return Caller(f"webhook:{record.webhook}", tenant=name if kind == "tenant" else None, scopes=scopes)


def renewal_time(webhook: Webhook, now: float, expires_at: float, jitter: float) -> float:
    """When to renew what was made at `now`. `jitter` is from 0 to 1."""
    lifetime = max(expires_at - now, 0.0)
    longest = lifetime * MAILBOX_SHARE
    configured = webhook.watch.renew_before if webhook.watch else None
    if configured is not None:
        before = min(configured, longest)
    elif webhook.verify is Verify.GOOGLE_PUBSUB:
        before = longest
    else:
        before = min(CHANNEL_SECONDS, lifetime * CHANNEL_SHARE)
    return now + (lifetime - before) * (1 - JITTER_SHARE * jitter)


def begun(record: WatchRecord, service: str, channel: str, now: float) -> WatchRecord:
    """The record before a channel is requested. Its id is noted first: if nobody sees the response, it is stopped."""
    attempt = Superseded(service, channel, until=now + UNKNOWN_LIFETIME_SECONDS)
    return msgspec.structs.replace(record, superseded=_bounded((*record.superseded, attempt)))


def renewed(
    record: WatchRecord, wanted: Wanted, channel: str, granted: Granted, *, renew_at: float, now: float
) -> WatchRecord:
    """The record after a success. The former channel is to be stopped, and so is any whose response never arrived."""
    others = [item for item in record.superseded if item.channel != channel]
    if record.channel and record.channel != channel:
        others.append(Superseded(record.service, record.channel, record.resource_id, record.expires_at))
    lapsed = 0 < record.expires_at <= now
    return msgspec.structs.replace(
        record,
        service=wanted.service,
        digest=wanted.digest,
        channel=channel,
        resource_id=granted.resource_id,
        resource_uri=granted.resource_uri,
        superseded=_bounded(tuple(others)),
        expires_at=granted.expires_at,
        renewed_at=now,
        renew_at=renew_at,
        due_at=renew_at,
        failure="",
        detail="",
        failures=0,
        stale=record.stale or lapsed,
    )


def failed(
    record: WatchRecord, wanted: Wanted, channel: str, failure: Failure, *, now: float, jitter: float
) -> WatchRecord:
    """The record after a failure. A channel that Google refused to make does not have to be stopped."""
    count = record.failures + 1
    base, longest = (
        (PERMANENT_SECONDS, MAX_PERMANENT_SECONDS)
        if failure.is_permanent
        else (TRANSIENT_SECONDS, MAX_TRANSIENT_SECONDS)
    )
    wait = min(longest, base * 2.0 ** min(count - 1, 16)) * (0.5 + jitter / 2)
    wait = max(wait, min(failure.retry_after, MAX_RETRY_AFTER_SECONDS) * (1 + JITTER_SHARE * jitter))
    kept = record.superseded
    if not failure.is_ambiguous:
        kept = tuple(item for item in kept if item.channel != channel)
    return msgspec.structs.replace(
        record,
        digest=wanted.digest,
        superseded=kept,
        failure=failure.code[:64],
        detail=failure.detail[:500],
        failures=count,
        failed_at=now,
        due_at=now + wait,
        renew_at=now + wait,
        stale=record.stale or (failure.is_gone and failure.code != record.failure),
    )


def stopped(record: WatchRecord, channel: str, *, is_gone: bool, now: float) -> WatchRecord:
    """The record after a channel has been stopped. One that was gone before its end has lost notifications."""
    ended_early = any(item.channel == channel and item.resource_id and item.until > now for item in record.superseded)
    rest = tuple(item for item in record.superseded if item.channel != channel)
    return msgspec.structs.replace(record, superseded=rest, stale=record.stale or (is_gone and ended_early))


def not_stopped(record: WatchRecord, channel: str) -> WatchRecord:
    """The record after a stop that failed: tried again some times, since the channel ends by itself anyway."""
    tried = [
        msgspec.structs.replace(item, tries=item.tries + 1) if item.channel == channel else item
        for item in record.superseded
    ]
    return msgspec.structs.replace(record, superseded=tuple(item for item in tried if item.tries < MAX_STOP_TRIES))


def without_channel(record: WatchRecord, now: float) -> WatchRecord:
    """The record of a watch that is not wanted any more: its channel is to be stopped."""
    record = msgspec.structs.replace(record, renew_at=0.0, due_at=now + STOP_SECONDS)
    if not record.channel:
        return record
    current = Superseded(record.service, record.channel, record.resource_id, record.expires_at)
    return msgspec.structs.replace(record, channel="", expires_at=0.0, superseded=(*record.superseded, current))


def not_ended(record: WatchRecord, now: float) -> WatchRecord:
    """The record of a mailbox's watch that could not be ended."""
    return msgspec.structs.replace(record, failures=record.failures + 1, renew_at=0.0, due_at=now + STOP_SECONDS)


def settled(record: WatchRecord, now: float) -> WatchRecord:
    """The record at the end of its turn: without channels that have ended, due again early if anything is left."""
    left = tuple(item for item in record.superseded if item.until > now)
    due = record.due_at
    if record.stale or (left and record.resource_id):
        tries = max((item.tries for item in left), default=1)
        due = min(due, now + STOP_SECONDS * 2.0 ** max(tries - 1, 0))
    return msgspec.structs.replace(record, superseded=left, due_at=due)


def _bounded(items: tuple[Superseded, ...]) -> tuple[Superseded, ...]:
    """The oldest are left to end by themselves."""
    return items[-MAX_SUPERSEDED:]
