"""One worker's subscribers: who hears what, how many there may be, and which of them have come to their end."""

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
"""How soon sockets are looked at that were busy when an event came."""


class ConnectionLimitExceeded(Exception):
    """This worker, caller or address holds as many connections as it may."""


class Hub:
    """Synchronous throughout: an event reaches every queue before the next one is looked at."""

    def __init__(self, limits: Limits, history: History) -> None:
        self.history = history
        self.limits = limits
        self._subscribers: set[Subscriber] = set()
        self._by_key: dict[str, dict[Subscriber, tuple[str, ...]]] = {}
        self._callers: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._lagging: set[Subscriber] = set()
        self._is_wake_scheduled = False

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(list(self._subscribers))

    def join(self, abort: Callable[[], None], client: str, caller: Caller | None) -> Subscriber:
        """A new connection, its caller perhaps not known yet. Raises TooMany."""
        if len(self) >= self.limits.connections:
            raise ConnectionLimitExceeded("the gateway holds as many connections as it can")
        if caller is None:
            self._check_unknown(client)
        else:
            self._check_caller(caller)
        subscriber = Subscriber(self.history, abort, client=client)
        self._subscribers.add(subscriber)
        if caller is None:
            self._unknown[client] += 1
        else:
            subscriber.caller = caller
            self._callers[caller.id] += 1
        return subscriber

    def known(self, subscriber: Subscriber, caller: Caller) -> None:
        """Whose connection it is, or is from now on. Raises TooMany."""
        before = subscriber.caller
        if before is None or before.id != caller.id:
            self._check_caller(caller)
            self._uncount(subscriber)
            self._callers[caller.id] += 1
        subscriber.caller = caller

    def leave(self, subscriber: Subscriber) -> None:
        if subscriber in self._subscribers:
            self._subscribers.discard(subscriber)
            self._lagging.discard(subscriber)
            self._unindex(subscriber)
            self._uncount(subscriber)

    def subscribe(self, subscriber: Subscriber, topic: str, keys: tuple[str, ...]) -> None:
        self._unindex(subscriber)
        subscriber.hear(topic, keys)
        self._index(subscriber)

    def unsubscribe(self, subscriber: Subscriber, topic: str) -> None:
        self._unindex(subscriber)
        subscriber.remove_topic(topic)
        self._index(subscriber)

    def deliver(self, event: Event) -> None:
        """Into the history, and to all who hear of it: one frame for all who hear by the same topics."""
        self.history.add(event)
        frames: dict[tuple[str, ...], Frame] = {}
        for subscriber, topics in self._by_key.get(event.record.key, {}).items():
            frame = frames.get(topics)
            if frame is None:
                frame = frames[topics] = build_frame(event, topics)
            if not subscriber.push(frame):
                self._lagging.add(subscriber)
        self._schedule_wake()

    def lost(self) -> None:
        """The log was cut, and events may be missing: everyone is told."""
        for subscriber in self._subscribers:
            subscriber.lost()

    def beat(self) -> str:
        """A sign of life, and from where to resume."""
        return encode_message("heartbeat", last_id=format_event_id(self.history.last))

    def _schedule_wake(self) -> None:
        """Servers tell each writer of each message gone, which costs more than the message: it is cheaper to look."""
        if self._lagging and not self._is_wake_scheduled:
            self._is_wake_scheduled = True
            asyncio.get_running_loop().call_later(WAKE_SECONDS, self._wake_lagging)

    def _wake_lagging(self) -> None:
        self._is_wake_scheduled = False
        self._lagging = {subscriber for subscriber in self._lagging if subscriber.wake()}
        self._schedule_wake()

    def _check_caller(self, caller: Caller) -> None:
        if self._callers[caller.id] >= self.limits.connections_for(caller.id):
            raise ConnectionLimitExceeded("this caller holds as many connections as it may")

    def _check_unknown(self, client: str) -> None:
        if (
            self._unknown[client] >= self.limits.unauthenticated_per_address
            or self._unknown.total() >= self.limits.unauthenticated
        ):
            raise ConnectionLimitExceeded("too many connections wait to be authenticated")

    def _uncount(self, subscriber: Subscriber) -> None:
        counts, name = self._unknown, subscriber.client
        if subscriber.caller is not None:
            counts, name = self._callers, subscriber.caller.id
        counts[name] -= 1
        if counts[name] <= 0:
            del counts[name]

    def _index(self, subscriber: Subscriber) -> None:
        for key, topics in subscriber.keys.items():
            self._by_key.setdefault(key, {})[subscriber] = topics

    def _unindex(self, subscriber: Subscriber) -> None:
        for key in subscriber.keys:
            heard = self._by_key[key]
            del heard[subscriber]
            if not heard:
                del self._by_key[key]
