"""Counts usage in this worker's memory: one update of a dictionary for each request, without waiting."""

import time
from collections.abc import Callable, Hashable
from typing import Final
from zoneinfo import ZoneInfo

from metrics.usage.days import day_at
from metrics.usage.record import OTHERS, Usage, UsageCounts, UsageKey, add, text
from routing.caller import KEY_CALLER
from routing.consumers.price import Price
from routing.consumers.subscription import Subscription
from routing.exchange import Exchange
from routing.http import CLIENT_GONE
from routing.observability.events import RequestFinished
from routing.router.paths import PREFIX
from routing.router.resolution import UNRESOLVED
from routing.steps.metering import Transfer
from routing.steps.respond import CLIENT_CLOSED_REQUEST, SWITCHING_PROTOCOLS

FROM_CACHE: Final = frozenset({"HIT", "STALE"})
"""The values of X-Cache for responses for which the backend was not called."""
SERVICES: Final = PREFIX.decode()
MAX_CALLERS: Final = 10_000
"""Callers without a consumer that a worker tells apart in one day."""
MAX_ROWS: Final = 20_000
"""Rows between two calls of `take`, beyond which callers without a consumer, and consumers' keys, are counted together.
"""
TOO_MANY_REQUESTS: Final = 429
LONG_SECONDS: Final = 5.0
"""What is transferred for longer is counted before it ends."""


class _Row:
    """What is counted under one key in one epoch: between two calls of `take`. `nanos` is the price of a request."""

    __slots__ = (
        "amount",
        "backend",
        "bytes_in",
        "bytes_out",
        "cached",
        "epoch",
        "errors",
        "key",
        "limited",
        "nanos",
        "refused",
        "requests",
    )

    def __init__(self, key: UsageKey, nanos: int, epoch: object) -> None:
        self.key = key
        self.nanos = nanos
        self.epoch = epoch
        self.requests = self.errors = self.cached = self.bytes_in = self.bytes_out = self.amount = 0
        self.refused = self.limited = 0
        self.backend = 0.0

    def counts(self) -> UsageCounts:
        backend_us = round(self.backend * 1e6)
        return UsageCounts(
            self.requests,
            self.errors,
            self.cached,
            self.bytes_in,
            self.bytes_out,
            backend_us,
            self.amount,
            self.refused,
            self.limited,
        )


class _Transfer:
    """A transfer in progress, and how much of it has been counted."""

    __slots__ = ("is_counted", "progress", "received", "sent", "status")

    def __init__(self, progress: Transfer, status: int) -> None:
        self.progress, self.status = progress, status
        self.received = self.sent = 0
        self.is_counted = False


class UsageMeter:
    """A Meter. `clock` is Unix time, `timer` the monotonic seconds of exchanges."""

    def __init__(
        self,
        timezone: ZoneInfo,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._timezone = timezone
        self._clock = clock
        self._timer = timer
        self._day, self._day_ends = day_at(clock(), timezone)
        self._epoch = object()
        self._rows: dict[tuple[Hashable, ...], _Row] = {}
        self._earlier: Usage = {}
        self._callers: set[str] = set()
        self._transfers: dict[Exchange, _Transfer] = {}

    def finished(self, exchange: Exchange, event: RequestFinished) -> None:
        memo = exchange.resolution.usage
        row: _Row | None
        if memo and memo[0] is exchange.caller and memo[1].epoch is self._epoch and event.at < self._day_ends:
            row = memo[1]
        else:
            row = self._find_row(exchange, event)
        if row is None or (self._transfers and exchange in self._transfers):
            self._end(exchange, event, row)
            return
        row.requests += 1
        row.bytes_out += event.bytes
        if event.cache in FROM_CACHE:
            row.cached += 1
        elif event.backend is not None or event.call:
            _add_call(row, exchange)
        if event.status >= 400 or (event.aborted and event.aborted != CLIENT_GONE):
            row.errors += 1
            if event.code:
                _add_refusal(row, event.status)
        if row.nanos:
            row.amount += _charge(row.nanos, event.status, event.code or exchange.error_code)

    def opened(self, exchange: Exchange, transfer: Transfer, status: int) -> None:
        opened = self._transfers[exchange] = _Transfer(transfer, status)
        opened.is_counted = status == SWITCHING_PROTOCOLS  # by `finished`

    def closed(self, exchange: Exchange) -> None:
        transfer = self._transfers.pop(exchange, None)
        if transfer is not None:
            self._count_progress(exchange, transfer)

    def take(self) -> Usage:
        """Return and clear all counts. Long transfers are counted as far as they are."""
        now, timer = self._clock(), self._timer()
        if now >= self._day_ends:
            self._roll()
        for exchange, transfer in self._transfers.items():
            if timer - exchange.started >= LONG_SECONDS:
                self._count_progress(exchange, transfer)
        usage, self._earlier = self._earlier, {}
        self._move_rows(usage)
        return usage

    def _find_row(self, exchange: Exchange, event: RequestFinished) -> _Row | None:
        """The row of a request, which its resolution remembers; None for an endpoint of the gateway's own."""
        if event.at >= self._day_ends and self._clock() >= self._day_ends:
            self._roll()
        if not event.service and not event.path.startswith(SERVICES):
            return None
        row = self._row(exchange, event.caller, event.service, event.route)
        if exchange.resolution is not UNRESOLVED:
            exchange.resolution.usage = (exchange.caller, row)
        return row

    def _end(self, exchange: Exchange, event: RequestFinished, row: _Row | None) -> None:
        """Count what is left of a transfer."""
        if row is None:
            return
        transfer = self._transfers.pop(exchange)
        _add_progress(row, exchange, transfer)
        if not transfer.is_counted:
            _add_head(row, exchange, event.status, event.code)
        if event.status < 400 and event.aborted and event.aborted != CLIENT_GONE:
            row.errors += 1

    def _row(self, exchange: Exchange, caller_id: str, service: str, route: str) -> _Row:
        caller, match = exchange.caller, exchange.resolution.match
        owner: Hashable = caller_id
        price = None if match is None else match.policy.price
        if caller is not None and (subscription := caller.subscription) is not None:
            if subscription.consumer:
                owner = subscription
            price = subscription.price or price
        api_key = caller_id[len(KEY_CALLER) :] if caller_id.startswith(KEY_CALLER) else ""
        found = self._rows.get((owner, api_key, service, route, price))
        return found or self._new_row(owner, api_key, service, route, price)

    def _new_row(self, owner: Hashable, api_key: str, service: str, route: str, price: Price | None) -> _Row:
        """Rows whose keys are equal, since only their owners or prices differ, are added up by `take`."""
        if isinstance(owner, Subscription):
            consumer, caller, team = text(owner.consumer), "", text(owner.team)
            if len(self._rows) >= MAX_ROWS:
                api_key = ""
        else:
            consumer, caller, team = "", self._bounded(str(owner)), ""
            if caller == OTHERS:
                owner, api_key = caller, ""
        found = self._rows.get((owner, api_key, service, route, price))
        if found is None:
            currency, nanos = ("", 0) if price is None else (price.currency, price.nanos)
            key = UsageKey(self._day, consumer, caller, team, service, text(route), currency, api_key)
            found = self._rows[owner, api_key, service, route, price] = _Row(key, nanos, self._epoch)
        return found

    def _bounded(self, caller: str) -> str:
        if caller in self._callers and len(self._rows) < MAX_ROWS:
            return text(caller)
        if not caller:
            return ""
        if len(self._callers) >= MAX_CALLERS or len(self._rows) >= MAX_ROWS:
            return OTHERS
        self._callers.add(caller)
        return text(caller)

    def _count_progress(self, exchange: Exchange, transfer: _Transfer) -> None:
        if transfer.is_counted and not _progress(exchange, transfer):
            return
        caller, match = exchange.caller, exchange.resolution.match
        row = self._row(exchange, caller.id if caller else "", exchange.service, match.pattern if match else "")
        _add_progress(row, exchange, transfer)
        if transfer.is_counted:
            return
        transfer.is_counted = True
        _add_head(row, exchange, transfer.status, exchange.error_code)

    def _roll(self) -> None:
        """Begin the next day."""
        self._move_rows(self._earlier)
        self._callers.clear()
        self._day, self._day_ends = day_at(self._clock(), self._timezone)

    def _move_rows(self, usage: Usage) -> None:
        rows, self._rows, self._epoch = self._rows, {}, object()
        for row in rows.values():
            add(usage, row.key, row.counts())


def _add_call(row: _Row, exchange: Exchange) -> None:
    """Count what was received of the client and how long the backend took."""
    call = exchange.call
    if call.seconds is not None:
        row.backend += call.seconds
    if call.upload is not None:
        row.bytes_in += call.upload.received


def _add_head(row: _Row, exchange: Exchange, status: int, code: str) -> None:
    """Count a request whose response is being transferred: all but its bytes."""
    row.requests += 1
    row.errors += status >= 400
    if code:
        _add_refusal(row, status)
    row.cached += exchange.cache.x_cache in FROM_CACHE
    row.backend += exchange.call.seconds or 0.0
    row.amount += _charge(row.nanos, status, code)


def _add_refusal(row: _Row, status: int) -> None:
    """Count an error response of the gateway's own, if it is one of the caller's making."""
    if 400 <= status < 500:
        row.refused += 1
        row.limited += status == TOO_MANY_REQUESTS


def _charge(nanos: int, status: int, code: str) -> int:
    """The price of a request: nothing if the gateway refused it, it failed, or the client did not wait for it."""
    return 0 if code or status >= 500 or status == CLIENT_CLOSED_REQUEST else nanos


def _progress(exchange: Exchange, transfer: _Transfer) -> bool:
    """Whether anything has been transferred since it was counted."""
    return (transfer.received, transfer.sent) != _transferred(exchange, transfer)


def _add_progress(row: _Row, exchange: Exchange, transfer: _Transfer) -> None:
    """Count what has been transferred since this was last called."""
    received, sent = _transferred(exchange, transfer)
    row.bytes_in += received - transfer.received
    row.bytes_out += sent - transfer.sent
    transfer.received, transfer.sent = received, sent


def _transferred(exchange: Exchange, transfer: _Transfer) -> tuple[int, int]:
    """Bytes from and to the client."""
    upload, progress = exchange.call.upload, transfer.progress
    return progress.received + (0 if upload is None else upload.received), progress.sent
