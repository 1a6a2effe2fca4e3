"""One connection: its topics and a bounded queue of messages not yet sent.

The hub pushes events as they happen. While a subscriber catches up, events are pulled from the history instead and
pushed ones are ignored.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Protocol, runtime_checkable

from routing.caller import Caller
from routing.realtime.close_codes import CloseCode
from routing.realtime.event import Event, Frame, build_frame
from routing.realtime.event_id import EventId, format_event_id, preceding_id
from routing.realtime.history import History
from routing.realtime.limits import MAX_QUEUED_CHARACTERS, MAX_QUEUED_EVENTS
from routing.realtime.messages import encode_message

REPLAY_BATCH: Final = 64
"""Events pulled from the history before other tasks get a turn."""
MAX_LAGGING_EVENTS: Final = 4
"""Events that may wait for a busy server before the connection's writer task is woken."""
RESUME_GRACE_SECONDS: Final = 0.05
"""Delay after a connection's first topics, so that a `resume` that follows immediately still gives one order."""


class Closed(Exception):
    """The connection is to be closed, with this WebSocket close code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@runtime_checkable
class PendingSend(Protocol):
    """A message that the server began to send when it was given to it, whether or not it is awaited."""

    def done(self) -> bool: ...

    def __await__(self) -> Any: ...


class EventSource(Enum):
    """Where a subscriber's events come from."""

    LIVE = "pushed by the hub"
    GRACE = "none for a moment: a resume may follow the first topics"
    REPLAY = "pulled from the history"


class Subscriber:
    """`caller` is None until authenticated. `abort` ends a connection whose client reads nothing any more.

    `sink` starts sending a message without waking the writer task, if the server supports it. One such message is in
    flight at a time; further events are queued.
    """

    def __init__(self, history: History, abort: Callable[[], None], *, client: str = "") -> None:
        self.caller: Caller | None = None
        self.client = client
        self.keys: dict[str, tuple[str, ...]] = {}
        self.topics: dict[str, tuple[str, ...]] = {}
        self.sending_since: float | None = None
        self.abort = abort
        self.sink: Callable[[str], PendingSend] | None = None
        self.closing: Closed | None = None
        self.is_slow = False
        self._history = history
        self._queue: deque[Frame | str] = deque()
        self._events = self._characters = 0
        self._wakeup = asyncio.Event()
        self._is_waiting = False
        self._in_flight: PendingSend | None = None
        self._delivery = EventSource.LIVE
        self._cursor: EventId = (0, 0)
        self._replay_start: EventId = (0, 0)
        self._resume_from: EventId | None = None
        # Of a topic, the events after `_pushed_since` and up to `_pushed_until` have been pushed and are not replayed.
        self._pushed_since: dict[str, EventId] = {}
        self._pushed_until: EventId = (0, 0)

    def __repr__(self) -> str:
        return f"<Subscriber {self._delivery.name} topics={len(self.topics)} queued={len(self._queue)}>"

    def push(self, frame: Frame) -> bool:
        """Send or queue a new event. If the queue is full, close the connection as too slow.

        False if the server is still busy with the previous event: then `wake` is to be called shortly.
        """
        if self._delivery is not EventSource.LIVE or frame.id <= self._pushed_until or self.closing:
            return True
        is_asleep = self._is_waiting and not self._wakeup.is_set()
        if is_asleep and not self._queue and self._try_send(frame):
            return True
        if self._events >= MAX_QUEUED_EVENTS or self._characters >= MAX_QUEUED_CHARACTERS:
            self.close_as_slow()
            return True
        self._enqueue(frame)
        if is_asleep and self.sink is not None and self._events <= MAX_LAGGING_EVENTS:
            return False
        self._wakeup.set()
        return True

    def wake(self) -> bool:
        """Send the next queued event if the previous one has been sent. Return whether more are waiting."""
        if not self._is_waiting or self._wakeup.is_set() or not self._queue:
            return False
        frame = self._queue[0]
        if isinstance(frame, Frame) and self._try_send(frame):
            self._dequeue()
        return bool(self._queue)

    def send(self, text: str) -> None:
        """Queue a message of the gateway, in order with the events."""
        if not self.closing:
            self._queue.append(text)
            self._wakeup.set()

    def close_as_slow(self) -> None:
        """Discard the queue, and close after a message that tells the client where to resume."""
        first = next((item.id for item in self._queue if isinstance(item, Frame)), self._history.last)
        last_id = format_event_id(preceding_id(first))
        self._queue.clear()
        self.is_slow = True
        self.send(encode_message("slow", last_id=last_id, detail="too many events were waiting to be read"))
        self.close(CloseCode.TIMEOUT, "too slow")

    def close(self, code: int, reason: str) -> None:
        """Send what is queued, then close."""
        if self.closing is None:
            self.closing = Closed(code, reason)
            self._wakeup.set()

    def add_topic(self, topic: str, keys: tuple[str, ...]) -> None:
        """Receive a topic's events from now on, or from where an earlier `resume` said."""
        is_first = not self.topics
        self.topics[topic] = keys
        self._pushed_since[topic] = self._history.last
        self._index()
        if self._resume_from is not None:
            event_id, self._resume_from = self._resume_from, None
            self._replay(event_id)
        elif is_first and self._delivery is EventSource.LIVE:
            self._cursor = self._replay_start = self._pushed_until = self._history.last
            self._delivery = EventSource.GRACE
            asyncio.get_running_loop().call_later(RESUME_GRACE_SECONDS, self._end_grace)

    def remove_topic(self, topic: str) -> None:
        self.topics.pop(topic, None)
        self._pushed_since.pop(topic, None)
        self._index()

    def resume(self, event_id: EventId) -> bool:
        """Replay the events after `event_id`. False, and no replay, if some of them are no longer available."""
        is_covered = self._history.covers(event_id)
        if not is_covered:
            self._end_grace()
        elif not self.topics:
            self._resume_from = event_id
        elif self._delivery is not EventSource.REPLAY:
            self._replay(event_id)
        return is_covered

    def announce_gap(self) -> None:
        """Notify the client that events may be missing, and go on with new ones."""
        self._delivery = EventSource.LIVE
        self._pushed_since = dict.fromkeys(self._pushed_since, self._history.last)
        last_id = format_event_id(self._history.last)
        self.send(encode_message("gap", last_id=last_id, detail="events may have been lost"))

    async def next(self) -> Frame | str:
        """Wait for the next message to send. Raises Closed."""
        while True:
            if self._queue:
                return self._dequeue()
            if self.closing:
                raise self.closing
            if self._delivery is EventSource.REPLAY:
                self._pull()
                await asyncio.sleep(0)
                continue
            self._wakeup.clear()
            self._is_waiting = True
            try:
                await self._wakeup.wait()
            finally:
                self._is_waiting = False

    async def drain(self) -> None:
        """Wait until the message in flight has been sent. Raises what the server raises."""
        pending, self._in_flight = self._in_flight, None
        if pending is not None:
            await pending

    def is_stalled(self, since: float) -> bool:
        """Whether a message that began to be sent by `since` (monotonic) has still not been sent."""
        if self.sending_since is None or self.sending_since > since:
            return False
        return self._in_flight is None or not self._in_flight.done()

    @property
    def is_behind(self) -> bool:
        return self._delivery is not EventSource.LIVE or bool(self._queue)

    def _try_send(self, frame: Frame) -> bool:
        """False if there is no sink, or if it is still sending the previous message."""
        if self.sink is None or (self._in_flight is not None and not self._in_flight.done()):
            return False
        self._in_flight = self.sink(frame.text)
        return True

    def _enqueue(self, frame: Frame) -> None:
        self._events += 1
        self._characters += len(frame.text)
        self._queue.append(frame)

    def _dequeue(self) -> Frame | str:
        item = self._queue.popleft()
        if isinstance(item, Frame):
            self._events -= 1
            self._characters -= len(item.text)
        return item

    def _index(self) -> None:
        """Topics by key, sorted, so that subscribers with the same topics share one frame."""
        keys: dict[str, tuple[str, ...]] = {}
        for topic in sorted(self.topics):
            for key in self.topics[topic]:
                keys[key] = (*keys.get(key, ()), topic)
        self.keys = keys

    def _replay(self, event_id: EventId) -> None:
        """Pull the events after `event_id`, except those that were pushed.

        An id above this worker's last one comes from a worker that is ahead: what this one receives up to it later
        has been delivered there.
        """
        if self._delivery is EventSource.LIVE:
            self._pushed_until = max(self._pushed_until, self._history.last)
        self._pushed_until = max(self._pushed_until, event_id)
        self._cursor = self._replay_start = event_id
        self._delivery = EventSource.REPLAY
        self._wakeup.set()

    def _end_grace(self) -> None:
        if self._delivery is EventSource.GRACE:
            self._delivery = EventSource.REPLAY
        self._wakeup.set()

    def _pull(self) -> None:
        """Queue the next batch of the history. At its end, go back to pushed events."""
        if not self._history.covers(self._cursor):
            self._cursor = self._history.floor
            last_id = format_event_id(self._cursor)
            self.send(encode_message("gap", last_id=last_id, detail="events expired before they were sent"))
        events = list(self._history.after(self._cursor, REPLAY_BATCH))
        for event in events:
            topics = self._topics_to_replay(event)
            if topics:
                self._enqueue(build_frame(event, topics))
        if len(events) < REPLAY_BATCH:
            self._delivery = EventSource.LIVE
            self._pushed_since = {topic: min(since, self._replay_start) for topic, since in self._pushed_since.items()}
        else:
            self._cursor = events[-1].id

    def _topics_to_replay(self, event: Event) -> tuple[str, ...]:
        """The event's topics through which it has not been pushed."""
        topics = self.keys.get(event.record.key, ())
        since, until = self._pushed_since, self._pushed_until
        return tuple(topic for topic in topics if event.id <= since[topic] or event.id > until)
