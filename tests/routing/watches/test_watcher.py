"""Watches over their lifetime, with Google, the database and the clock in memory: renewal, failures, gaps."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from resilience.outage import StoreUnavailable
from routing.errors import BackendLimited, CredentialFailed, UpstreamTimeout
from routing.http import Response
from routing.observability.events import BackendEvent, BackendEventKind
from routing.router.credential_policy import CredentialPolicy, GrantType, Per
from routing.router.live import LiveConfiguration
from routing.router.policy import RoutePolicy, Target
from routing.router.table import RouteTable, Service
from routing.watches.record import WatchRecord, WatchState
from routing.watches.renewer import Renewer
from routing.watches.store import LEASE_SECONDS, Account
from routing.watches.watcher import Watcher
from routing.webhooks.policy import Verify, Watch, Webhook
from tests.clock import FakeClock
from tests.routing.watches.google import WEEK, Google, error
from tests.routing.watches.memory import MemoryWatches

DAY = 86_400.0
ADDRESS = "https://gateway.example.com/hooks/calendar"
TOPIC = "projects/p/topics/gmail"
GMAIL = Webhook(
    name="gmail",
    verify=Verify.GOOGLE_PUBSUB,
    service="google",
    invalidates=("mailbox:{data.emailAddress}", "mailbox:me"),
    watch=Watch(resources=("ann@example.com",), base="/gmail/v1", topic=TOPIC),
)
CALENDAR = Webhook(
    name="calendar",
    verify=Verify.GOOGLE_CHANNEL,
    secrets=(b"the token",),
    service="google",
    invalidates=("resource:{header.x-goog-resource-uri}", "calendars"),
    watch=Watch(resources=("team#1@example.com",), base="/calendar/v3", address=ADDRESS),
)
CALENDAR_TAGS = [
    "resource:https://www.googleapis.com/calendar/v3/calendars/team%231@example.com/events?alt=json",
    "calendars",
]
LOST = UpstreamTimeout("no response")


class World:
    """Workers that share a database. `invalidated` are services and tags."""

    def __init__(self, *webhooks: Webhook, per: Per | None = None) -> None:
        self.clock = FakeClock()
        self.google = Google(self.clock)
        self.store = MemoryWatches()
        self.counts = Counter[str]()
        self.events: list[BackendEvent] = []
        self.invalidated: list[tuple[str, list[str] | None]] = []
        self.is_cache_away = False
        policy = (
            CredentialPolicy(grant=GrantType.REFRESH_TOKEN, token_url="https://t.example", per=per) if per else None
        )
        self.service = Service("google", (Target("http://127.0.0.1:1"),), policy=RoutePolicy(credential=policy))
        self.live = LiveConfiguration()
        self.configure(*webhooks)
        self.watcher = self.worker()

    def configure(self, *webhooks: Webhook) -> None:
        self.live.table = RouteTable([self.service], webhooks=webhooks)

    def worker(self) -> Watcher:
        gateway: Any = self.google
        gateway.live = self.live
        renewer = Renewer(
            gateway,
            self,
            self.store,
            host=b"gateway.test",
            clock=self.clock,
            count=lambda _, outcome: self.counts.update([outcome]),
            emit=self.events.append,
            jitter=lambda: 0.0,
        )
        return Watcher(self.store, renewer, self.live, key=b"k", clock=self.clock)

    async def invalidate(self, service: str, tags: list[str] | None = None) -> int:
        if self.is_cache_away:
            raise StoreUnavailable
        self.invalidated.append((service, tags))
        return 1

    async def later(self, seconds: float) -> WatchRecord:
        """What is due after so many seconds is done."""
        self.clock.advance(seconds)
        return (await self.watcher.renew())[0]


async def test_a_mailbox_is_watched_and_renewed_daily() -> None:
    world = World(GMAIL)
    record = await world.later(0)
    assert record.state(world.clock()) is WatchState.ACTIVE
    assert world.google.requests == [("/gmail/v1/users/ann@example.com/watch", {"topicName": TOPIC}, "webhook:gmail")]
    for _ in range(10):
        await world.later(DAY + 1)
    assert len(world.google.requests) == 11
    await world.later(DAY / 2)
    assert len(world.google.requests) == 11
    assert world.google.mailboxes["ann@example.com"][1] > world.clock() + 6 * DAY
    assert not world.invalidated


async def test_a_channel_is_replaced_before_it_ends_and_the_former_one_stopped_afterwards() -> None:
    world = World(CALENDAR)
    first = (await world.later(0)).channel
    await world.later(5.9 * DAY)
    assert list(world.google.channels) == [first]
    second = (await world.later(0.2 * DAY)).channel
    assert list(world.google.channels) == [second]
    path = "/calendar/v3/calendars/team%231@example.com/events/watch"
    assert world.google.paths() == [path, path, "/calendar/v3/channels/stop"]
    assert first != second
    sent = world.google.requests[0][1]
    assert (sent["address"], sent["token"], sent["type"]) == (ADDRESS, "the token", "web_hook")
    assert not world.invalidated


async def test_a_short_lifetime_is_renewed_in_time() -> None:
    world = World(GMAIL, CALENDAR)
    world.google.lifetime = 3_600.0
    for _ in range(120):
        await world.later(60)
    assert not world.invalidated
    assert world.counts["watch_failed"] == 0
    assert len(world.google.channels) == 1


async def test_one_of_several_workers_renews() -> None:
    world = World(GMAIL, CALENDAR)
    workers = [world.worker() for _ in range(5)]
    await asyncio.gather(*(worker.renew() for worker in workers))
    assert len(world.google.requests) == 2
    world.clock.advance(6.5 * DAY)
    await asyncio.gather(*(worker.renew() for worker in workers))
    assert len(world.google.channels) == 1
    assert len(world.google.requests) == 5


async def test_a_worker_that_died_delays_and_loses_nothing() -> None:
    world = World(CALENDAR)
    first = (await world.later(0)).channel
    world.clock.advance(6.5 * DAY)
    world.store.saves_left = 1  # the new channel's id is noted, the worker dies before it stores the response
    await world.watcher.renew()
    world.store.saves_left = None
    world.store.claims[1] = "dead", world.clock() + LEASE_SECONDS
    assert len(world.google.channels) == 2
    await world.worker().renew()
    assert len(world.google.channels) == 2
    world.clock.advance(LEASE_SECONDS)
    (record,) = await world.worker().renew()
    assert list(world.google.channels) == [record.channel]
    assert first not in world.google.channels


async def test_a_channel_whose_response_never_arrived_is_stopped() -> None:
    world = World(CALENDAR)
    world.google.lost = [LOST]
    record = await world.later(0)
    assert (record.failure, len(world.google.channels)) == ("upstream_timeout", 1)
    record = await world.later(60)
    assert list(world.google.channels) == [record.channel]
    assert record.superseded == ()


async def test_a_stop_that_fails_is_tried_again() -> None:
    world = World(CALENDAR)
    first = (await world.later(0)).channel
    world.clock.advance(6.5 * DAY)
    world.google.faults = [None, Response(503)]  # type: ignore[list-item]
    await world.watcher.renew()
    assert first in world.google.channels
    await world.later(61)
    assert first not in world.google.channels
    assert world.counts["watch_renewed"] == 2


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Response(503), 30),
        (error(403, "rateLimitExceeded"), 30),
        (error(429, "x", retry_after="3000"), 3_000),
        (BackendLimited("held", retry_after=900.0), 900),
        (error(403, "forbidden"), 600),
        (CredentialFailed("invalid_grant", retry_after=60.0), 600),
        (error(400, "push.webhookUrlUnauthorized"), 600),
        (Response(200, [], b"<html>"), 30),
        (Response(200, [], b'{"historyId": "1", "expiration": "12"}'), 30),
    ],
)
async def test_a_failure_is_tried_again_after_a_backoff_and_after_what_google_demands(
    fault: Response | Exception, seconds: float
) -> None:
    world = World(GMAIL)
    world.google.faults = [fault]
    record = await world.later(0)
    assert record.state(world.clock()) is WatchState.FAILING
    assert [event.kind for event in world.events] == [BackendEventKind.WATCH_FAILED]
    await world.later(seconds / 2 - 1)
    assert len(world.google.requests) == 1
    record = await world.later(seconds)
    assert (len(world.google.requests), record.failure) == (2, "")


async def test_a_permanent_failure_is_tried_ever_more_rarely() -> None:
    world = World(GMAIL)
    world.google.faults = [error(403, "forbidden") for _ in range(200)]
    for _ in range(7 * 24 * 6):
        await world.later(600)
    assert len(world.google.requests) < 70
    assert world.counts["watch_failed"] == len(world.google.requests)


async def test_a_corrected_configuration_is_tried_at_once() -> None:
    world = World(GMAIL)
    world.google.faults = [error(403, "forbidden")]
    await world.later(0)
    assert GMAIL.watch
    fixed = Watch(resources=GMAIL.watch.resources, base="/gmail/v1", topic="projects/p/topics/other")
    world.configure(Webhook(name="gmail", verify=Verify.GOOGLE_PUBSUB, service="google", watch=fixed))
    assert (await world.later(1)).state(world.clock()) is WatchState.ACTIVE


async def test_after_a_gap_everything_covered_is_invalidated() -> None:
    world = World(CALENDAR, GMAIL)
    await world.later(0)
    await world.later(8 * DAY)
    assert sorted(world.invalidated, key=str) == [
        ("google", ["mailbox:ann@example.com", "mailbox:me"]),
        ("google", CALENDAR_TAGS),
    ]


async def test_an_invalidation_that_fails_is_not_forgotten() -> None:
    world = World(CALENDAR)
    await world.later(0)
    world.is_cache_away = True
    assert (await world.later(8 * DAY)).stale
    world.is_cache_away = False
    assert not (await world.later(61)).stale
    assert world.invalidated == [("google", CALENDAR_TAGS)]
    assert world.counts["watch_renewed"] == 2


async def test_a_channel_that_is_gone_before_its_end_has_lost_notifications() -> None:
    world = World(CALENDAR)
    await world.later(0)
    world.google.channels.clear()
    await world.later(6.5 * DAY)
    assert world.invalidated == [("google", CALENDAR_TAGS)]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_calendar_that_is_gone_is_invalidated_once(status: int) -> None:
    world = World(CALENDAR)
    await world.later(0)
    world.google.faults = [error(status, "notFound") for _ in range(3)]
    for _ in range(3):
        await world.later(6.5 * DAY)
    assert world.invalidated == [("google", CALENDAR_TAGS)]


async def test_a_mailbox_that_is_watched_for_another_topic_is_stopped_first() -> None:
    world = World(GMAIL)
    world.google.mailboxes["ann@example.com"] = "projects/p/topics/old", world.clock() + WEEK
    await world.later(0)
    assert world.google.mailboxes["ann@example.com"][0] == TOPIC
    assert world.invalidated


async def test_each_connected_account_is_watched_with_its_own_credential() -> None:
    mine = Webhook(
        name="gmail",
        verify=Verify.GOOGLE_PUBSUB,
        service="google",
        invalidates=("mailbox:me",),
        watch=Watch(resources=("me",), base="/gmail/v1", topic=TOPIC),
    )
    world = World(mine, per=Per.CALLER)
    world.store.connected = [Account("google", f"caller:firebase:{name}", 1.0) for name in ("ann", "ben")]
    world.store.connected.append(Account("google", "tenant:acme", 1.0))
    await world.watcher.renew()
    assert sorted(caller for _, _, caller in world.google.requests) == ["firebase:ann", "firebase:ben"]
    world.clock.advance(8 * DAY)
    await world.watcher.renew()
    assert world.invalidated[0] == ("google", ["credential:caller:firebase:ann"])
    world.store.connected = world.store.connected[:1]
    await world.later(7 * DAY)
    assert [record.subject for record in await world.watcher.load()] == ["caller:firebase:ann"]


async def test_a_callers_account_is_watched_as_one_of_its_tenant() -> None:
    """`{tenant}` in `token_url` is filled with it, also where the watch is only ended."""
    world = World(CALENDAR, per=Per.CALLER)
    world.store.connected = [Account("google", "caller:key:a", 1.0, "acme"), Account("google", "caller:key:b", 1.0)]
    await world.watcher.renew()
    world.store.connected = []
    world.clock.advance(60)
    await world.watcher.renew()
    tenants = [
        (path.rpartition("/")[2], tenant)
        for path, tenant in zip(world.google.paths(), world.google.tenants, strict=True)
    ]
    assert sorted(tenants, key=str) == [("stop", "acme"), ("stop", None), ("watch", "acme"), ("watch", None)]


async def test_a_watch_that_failed_is_tried_at_once_when_its_accounts_tenant_becomes_known() -> None:
    world = World(GMAIL, per=Per.CALLER)
    world.store.connected = [Account("google", "caller:a", 1.0)]
    world.google.faults = [CredentialFailed("the token endpoint of no tenant")]
    assert (await world.later(0)).failure == "credential_failed"
    world.store.connected = [Account("google", "caller:a", 1.0, "acme")]
    assert (await world.later(5)).failure == ""
    assert world.google.tenants == [None, "acme"]


async def test_an_account_that_is_connected_again_is_tried_at_once() -> None:
    world = World(GMAIL, per=Per.CALLER)
    world.store.connected = [Account("google", "caller:a", world.clock())]
    world.google.faults = [CredentialFailed("revoked")]
    assert (await world.later(0)).failure == "credential_failed"
    await world.later(5)
    assert len(world.google.requests) == 1
    world.store.connected = [Account("google", "caller:a", world.clock() + 1)]
    assert (await world.later(5)).failure == ""


async def test_what_is_not_wanted_any_more_is_stopped_and_what_is_paused_is_not() -> None:
    world = World(CALENDAR, GMAIL)
    await world.later(0)
    disabled = Webhook(name="calendar", verify=Verify.GOOGLE_CHANNEL, service="google", enabled=False)
    faulty = Webhook(name="gmail", verify=Verify.HMAC, faults=("broken",))
    world.configure(disabled, faulty)
    await world.later(2 * DAY)
    assert len(world.google.requests) == 2
    world.configure(GMAIL)
    await world.watcher.renew()
    assert not world.google.channels
    assert [record.webhook for record in await world.watcher.load()] == ["gmail"]
    world.configure()
    await world.watcher.renew()
    assert world.google.mailboxes == {}
    assert await world.watcher.load() == []


async def test_a_new_secret_makes_a_channel_with_it() -> None:
    world = World(CALENDAR)
    await world.later(0)
    assert CALENDAR.watch
    rotated = Webhook(
        name="calendar",
        verify=Verify.GOOGLE_CHANNEL,
        secrets=(b"new", b"the token"),
        service="google",
        watch=CALENDAR.watch,
    )
    world.configure(rotated)
    await world.later(1)
    assert [channel["token"] for channel in world.google.channels.values()] == ["new"]


async def test_while_the_database_is_away_nobody_is_called() -> None:
    world = World(GMAIL)
    world.store.is_away = True
    for _ in range(3):
        assert await world.watcher._try_pass() > 1
    assert world.google.requests == []
    world.store.is_away = False
    await world.later(0)
    assert len(world.google.requests) == 1


async def test_force_renews_what_is_not_due() -> None:
    world = World(GMAIL)
    await world.later(0)
    await world.watcher.renew(["other"], force=True)
    assert len(world.google.requests) == 1
    await world.watcher.renew(["google"], force=True)
    assert len(world.google.requests) == 2
