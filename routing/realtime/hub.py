"""One worker's subscribers: an index by topic key, event delivery, and connection limits."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from routing.caller import Caller
from routing.realtime.event import Event, Frame, build_frame
from routing.realtime.event_id import format_event_id
from routing.realtime.history import History
from routing.realtime.limits import Limits
from routing.realtime.messages import encode_message
from routing.realtime.subscriber import Subscriber

WAKE_SECONDS: Final = 0.002
"""Interval at which subscribers whose server was busy when an event came are tried again."""


class ConnectionLimitExceeded(Exception):
    """This worker, caller or address has as many connections as it may."""


class Hub:
    """Synchronous: each event reaches every queue before the next one is handled."""

    def __init__(self, limits: Limits, history: History) -> None:
        self.history = history
        self.limits = limits
        self._subscribers: set[Subscriber] = set()
        self._by_key: dict[str, dict[Subscriber, tuple[str, ...]]] = {}
        self._by_caller: Counter[str] = Counter()
        self._unauthenticated: Counter[str] = Counter()
        self._lagging: set[Subscriber] = set()
        self._is_wake_scheduled = False

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(list(self._subscribers))

    def join(self, abort: Callable[[], None], client: str, caller: Caller | None) -> Subscriber:
        """Add a connection; `caller` is None until it authenticates. Raises ConnectionLimitExceeded."""
        if len(self) >= self.limits.connections:
            raise ConnectionLimitExceeded("the gateway has reached its limit of connections")
        if caller is None:
            self._check_unauthenticated(client)
        else:
            self._check_caller(caller)
        subscriber = Subscriber(self.history, abort, client=client)
        self._subscribers.add(subscriber)
        if caller is None:
            self._unauthenticated[client] += 1
        else:
            subscriber.caller = caller
            self._by_caller[caller.id] += 1
        return subscriber

    def set_caller(self, subscriber: Subscriber, caller: Caller) -> None:
        """Record that a connection has authenticated, or has renewed its credential. Raises ConnectionLimitExceeded."""
        before = subscriber.caller
        if before is None or before.id != caller.id:
            self._check_caller(caller)
            self._uncount(subscriber)
            self._by_caller[caller.id] += 1
        subscriber.caller = caller

    def leave(self, subscriber: Subscriber) -> None:
        if subscriber in self._subscribers:
            self._subscribers.discard(subscriber)
            self._lagging.discard(subscriber)
            self._unindex(subscriber)
            self._uncount(subscriber)

    def subscribe(self, subscriber: Subscriber, topic: str, keys: tuple[str, ...]) -> None:
        self._unindex(subscriber)
        subscriber.add_topic(topic, keys)
        self._index(subscriber)

    def unsubscribe(self, subscriber: Subscriber, topic: str) -> None:
        self._unindex(subscriber)
        subscriber.remove_topic(topic)
        self._index(subscriber)

    def deliver(self, event: Event) -> None:
        """Add the event to the history and push it: one frame for all subscribers with the same matching topics."""
        self.history.add(event)
        frames: dict[tuple[str, ...], Frame] = {}
        for subscriber, topics in self._by_key.get(event.record.key, {}).items():
            frame = frames.get(topics)
            if frame is None:
                frame = frames[topics] = build_frame(event, topics)
            if not subscriber.push(frame):
                self._lagging.add(subscriber)
        self._schedule_wake()

    def announce_gap(self) -> None:
        """Notify every subscriber that events may be missing."""
        for subscriber in self._subscribers:
            subscriber.announce_gap()

    def heartbeat(self) -> str:
        """The message that shows that the connection is alive, with the id to resume from."""
        return encode_message("heartbeat", last_id=format_event_id(self.history.last))

    def _schedule_wake(self) -> None:
        """Polling is cheaper here: a callback per message sent costs more than the message."""
        if self._lagging and not self._is_wake_scheduled:
            self._is_wake_scheduled = True
            asyncio.get_running_loop().call_later(WAKE_SECONDS, self._wake_lagging)

    def _wake_lagging(self) -> None:
        self._is_wake_scheduled = False
        self._lagging = {subscriber for subscriber in self._lagging if subscriber.wake()}
        self._schedule_wake()

    def _check_caller(self, caller: Caller) -> None:
        if self._by_caller[caller.id] >= self.limits.connections_for(caller.id):
            raise ConnectionLimitExceeded("this caller has reached its limit of connections")

    def _check_unauthenticated(self, client: str) -> None:
        counts, limits = self._unauthenticated, self.limits
        if counts[client] >= limits.unauthenticated_per_address or counts.total() >= limits.unauthenticated:
            raise ConnectionLimitExceeded("too many unauthenticated connections")

    def _uncount(self, subscriber: Subscriber) -> None:
        counts, name = self._unauthenticated, subscriber.client
        if subscriber.caller is not None:
            counts, name = self._by_caller, subscriber.caller.id
        counts[name] -= 1
        if counts[name] <= 0:
            del counts[name]

    def _index(self, subscriber: Subscriber) -> None:
        for key, topics in subscriber.keys.items():
            self._by_key.setdefault(key, {})[subscriber] = topics

    def _unindex(self, subscriber: Subscriber) -> None:
        for key in subscriber.keys:
            subscribers = self._by_key[key]
            del subscribers[subscriber]
            if not subscribers:
                del self._by_key[key]
