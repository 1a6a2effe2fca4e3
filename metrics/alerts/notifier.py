"""Evaluates the conditions of alerts and sends their messages, in one worker of the cluster at a time.

A message is sent again until its receiver has accepted it. If a worker is killed before it has recorded that, another
one sends the message once more, with the same id.
"""

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from metrics.alerts import ledger, messages
from metrics.alerts.change import ChangeKind, ConditionChange, ConditionKey, ConditionState, Firing, endings
from metrics.alerts.conditions import GatewaySnapshot, firing
from metrics.alerts.messages import QueuedMessage
from metrics.alerts.rules import Step, advance
from metrics.alerts.sending import Sender, SendFailed
from resilience.outage import StoreUnavailable
from resilience.task_set import TaskSet
from resilience.throttled_log import ThrottledLog
from routing.alerts.policy import Alert, Recipient
from routing.database.connection import in_thread
from routing.router.live import LiveConfiguration
from routing.router.table import RouteTable

T = TypeVar("T")
log = logging.getLogger(__name__)

TICK_SECONDS: Final = 2.0
"""How often conditions are evaluated, and a worker checks whether it may take over."""
FIRST_BACKOFF_SECONDS: Final = 5.0
MAX_BACKOFF_SECONDS: Final = 600.0
AT_ONCE: Final = 8
"""The most messages that are sent at the same time."""
CLOSE_SECONDS: Final = 5.0
"""How long messages in flight may take when the worker stops."""
TEST_SUMMARY: Final = "This is a test of the gateway's alerts. Nothing has happened."

ReadSnapshot = Callable[[tuple[Alert, ...]], Awaitable[GatewaySnapshot]]
"""Reads what these alerts need to know now."""


class RecipientResult(NamedTuple):
    """`failure` is empty if the recipient has accepted the test."""

    recipient: str
    failure: str


class Notifier:
    """`recipient_of` parses the label of a recipient that was removed; None if it cannot be read any more. `clock` is
    the Unix time that workers share.
    """

    def __init__(
        self,
        live: LiveConfiguration,
        read: ReadSnapshot,
        sender: Sender,
        *,
        recipient_of: Callable[[str], Recipient | None],
        clock: Callable[[], float],
    ) -> None:
        self._live = live
        self._read = read
        self._sender = sender
        self._recipient_of = recipient_of
        self._clock = clock
        self._owner = secrets.token_hex(8)
        self._thread = ThreadPoolExecutor(1, "alerts")
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._seen: RouteTable | None = None
        self._is_idle = False
        self._warn = ThrottledLog(log).warning
        self._loop = TaskSet()
        self._sending = TaskSet()

    def start(self) -> None:
        """Start on the running event loop."""
        self._loop.create(self._run())

    async def close(self) -> None:
        """Wait for messages in flight, and let another worker take over at once."""
        await self._loop.cancel_and_wait()
        await self._sending.wait_at_most(CLOSE_SECONDS)
        await self._sending.cancel_and_wait()
        if self._seen is not None and not self._is_idle:
            with contextlib.suppress(StoreUnavailable):
                await self._in_thread(partial(ledger.release, self._owner))
        self._thread.shutdown(wait=False)

    async def run_once(self) -> None:
        """Evaluate all conditions if no other worker does, and start to send what is due.

        Raises StoreUnavailable.
        """
        table = self._live.table
        alerts = {alert.name: alert for alert in table.alerts}
        enabled = tuple(alert for alert in alerts.values() if alert.enabled)
        if not table.is_loaded or (not enabled and await self._rests(table)):
            return
        self._seen, self._is_idle = table, False
        if not await self._in_thread(partial(ledger.claim, self._owner, self._clock())):
            return
        snapshot = await self._read(enabled)
        step = partial(_step, alerts, snapshot)
        if await self._in_thread(partial(ledger.apply, self._owner, step, snapshot.at)):
            await self._send_due()

    async def test(self, name: str | None = None) -> list[RecipientResult]:
        """Send a message to the recipients of an alert, or of all; each is recorded. Raises LookupError for an unknown
        alert, and StoreUnavailable.
        """
        chosen = [alert for alert in self._live.table.alerts if name in (None, alert.name)]
        if name is not None and not chosen:
            raise LookupError(f"there is no alert {name}")
        recipients = {recipient.label: (alert, recipient) for alert in chosen for recipient in alert.recipients}
        tests = (self._test(alert, recipient) for alert, recipient in recipients.values())
        faults = [RecipientResult(alert.name, fault) for alert in chosen for fault in alert.faults]
        return [*await asyncio.gather(*tests), *faults]

    async def _test(self, alert: Alert, recipient: Recipient) -> RecipientResult:
        async with self._limit:
            now = self._clock()
            change = _test_change(alert, now)
            create = partial(messages.create, recipient.label, [change], now, now, self._owner)
            message = await self._in_thread(create)
            failure = await self._try(recipient, message)
            await self._in_thread(partial(self._note, message, failure, is_test=True))
            return RecipientResult(recipient.label, "" if failure is None else str(failure))

    async def _rests(self, table: RouteTable) -> bool:
        """Whether there is nothing to do: no alert is configured, and all messages of removed ones are sent."""
        if table is self._seen and self._is_idle:
            return True
        if await self._in_thread(ledger.has_work):
            return False
        self._seen, self._is_idle = table, True
        return True

    async def _run(self) -> None:
        while True:
            try:
                await self.run_once()
            except StoreUnavailable as error:
                self._warn("alerts are compared later, since the database is unavailable", str(error))
            except Exception:
                log.exception("alerts could not be compared; will retry")
            await asyncio.sleep(TICK_SECONDS)

    async def _send_due(self) -> None:
        for identifier in await self._in_thread(partial(messages.due, self._clock())):
            message = await self._in_thread(partial(messages.claim, identifier, self._owner, self._clock()))
            if message is not None:
                self._sending.create(self._deliver(message))

    async def _deliver(self, message: QueuedMessage) -> None:
        """Send a message, and what its recipient has waiting for it."""
        try:
            async with self._limit:
                recipient = self._recipients().get(message.recipient)
                if recipient is None:
                    failure = await self._send_last(message)
                else:
                    failure = await self._try(recipient, message)
                await self._in_thread(partial(self._note, message, failure))
        except StoreUnavailable as error:
            log.warning("it could not be noted whether an alert was sent: %s", error)
        except Exception:
            log.exception("an alert could not be sent")

    async def _send_last(self, message: QueuedMessage) -> SendFailed | None:
        """A removed recipient is sent only that a condition is resolved of which it was notified before."""
        recipient, last = self._recipient_of(message.recipient), endings(message.changes)
        if recipient is None or not last:
            return SendFailed("the recipient is configured no more", is_final=True)
        return await self._try(recipient, message._replace(changes=last))

    async def _try(self, recipient: Recipient, message: QueuedMessage) -> SendFailed | None:
        try:
            await self._sender.send(recipient, message, self._clock())
        except SendFailed as failure:
            log.warning("an alert could not be sent to %s: %s", recipient.label, failure)
            return failure
        return None

    def _note(self, message: QueuedMessage, failure: SendFailed | None, *, is_test: bool = False) -> None:
        now = self._clock()
        if failure is None:
            messages.sent(message, self._owner, now)
            return
        wait = max(failure.retry_after, _backoff(message.tries))
        is_over = is_test or failure.is_final or now + wait - message.created_at > messages.GIVE_UP_SECONDS
        messages.failed(message, self._owner, str(failure), None if is_over else now + wait)

    def _recipients(self) -> dict[str, Recipient]:
        return {each.label: each for alert in self._live.table.alerts for each in alert.recipients}

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Raises StoreUnavailable while the database is."""
        return await in_thread(work, StoreUnavailable, self._thread)


def _step(
    alerts: Mapping[str, Alert],
    snapshot: GatewaySnapshot,
    known: Mapping[ConditionKey, ConditionState],
    is_silenced: Callable[[Firing], bool],
) -> Step:
    found = firing((alert for alert in alerts.values() if alert.enabled), snapshot)
    silenced, unknown, now = is_silenced, snapshot.unknown, snapshot.at
    return advance(known, found, alerts, snapshot.services, unknown=unknown, is_silenced=silenced, now=now)


def _test_change(alert: Alert, now: float) -> ConditionChange:
    fields: dict[str, Any] = {"alert": alert.name, "condition": "test", "subject": alert.name, "service": ""}
    return ConditionChange(
        kind=ChangeKind.TEST,
        key=f"test-{secrets.token_hex(8)}",
        summary=TEST_SUMMARY,
        is_critical=False,
        since=now,
        at=now,
        **fields,
    )


def _backoff(tries: int) -> float:
    """Seconds until the next attempt. `tries` is the number of attempts before the last one."""
    seconds = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(tries, 20))
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
