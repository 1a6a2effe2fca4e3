"""One connection as the hub sees it: what it hears, and a bounded queue of what it has not yet taken.

The hub pushes; while a subscriber catches up, it pulls from the history instead, and pushed events pass it by.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, runtime_checkable

from routing.caller import Caller
from routing.realtime.event import Event, Frame, build_frame
from routing.realtime.event_id import EventId, format_event_id, preceding_id
from routing.realtime.history import History
from routing.realtime.limits import MAX_QUEUED_CHARACTERS, MAX_QUEUED_EVENTS
from routing.realtime.messages import encode_message

REPLAY_BATCH: Final = 64
"""Events taken from the history in one go, so that one who catches up lets the others be served."""
MAX_UNWOKEN: Final = 4
"""Events that may wait for a busy server without anybody being woken: with more of them, the writer goes to work."""
GRACE_SECONDS: Final = 0.05
"""After a connection's first topics: a `resume` that comes right behind still gets everything in order."""


class Closed(Exception):
    """The connection is over: `code` is a WebSocket's close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@runtime_checkable
class Sending(Protocol):
    """A message that began to go out when it was handed to the server, whether that is waited for or not."""

    def done(self) -> bool: ...

    def __await__(self) -> Any: ...


class Subscriber:
    """`caller` is None until it is authenticated. `abort` ends a connection that takes nothing any more.

    `hand` gives a message to the server at once, where the server can take it so: an event then reaches the socket
    without waking anybody. One is under way at a time; what comes meanwhile is queued.
    """

    def __init__(self, history: History, abort: Callable[[], None], *, client: str = "") -> None:
        self.caller: Caller | None = None
        self.client = client
        self.keys: dict[str, tuple[str, ...]] = {}
        self.topics: dict[str, tuple[str, ...]] = {}
        self.sending_since: float | None = None
        self.abort = abort
        self.sink: Callable[[str], Sending] | None = None
        self.closing: Closed | None = None
        self.is_slow = False
        self._history = history
        self._since: dict[str, EventId] = {}
        self._queue: deque[Frame | str] = deque()
        self._events = self._characters = 0
        self._wake = asyncio.Event()
        self._from: EventId | None = None
        self._origin: EventId = (0, 0)
        self._seen: EventId = (0, 0)
        self._resume: EventId | None = None
        self._held = False
        self._is_waiting = False
        self._in_flight: Sending | None = None

    def push(self, frame: Frame) -> bool:
        """An event that just happened. One too many for the queue, and the reader is too slow.

        False: the server is still busy with the one before, and `nudge` is to be called in a moment.
        """
        if self._from is not None or frame.id <= self._seen or self.closing:
            return True
        is_asleep = self._is_waiting and not self._wake.is_set()
        if is_asleep and not self._queue and self._try_send(frame):
            return True
        if self._events >= MAX_QUEUED_EVENTS or self._characters >= MAX_QUEUED_CHARACTERS:
            self.close_as_slow()
            return True
        self._enqueue(frame)
        if is_asleep and self.sink is not None and self._events <= MAX_UNWOKEN:
            return False
        self._wake.set()
        return True

    def wake(self) -> bool:
        """Hand over the next event that waits, if the one before has gone. Whether more wait for this."""
        if not self._is_waiting or self._wake.is_set() or not self._queue:
            return False
        frame = self._queue[0]
        if isinstance(frame, Frame) and self._try_send(frame):
            self._dequeue()
        return bool(self._queue)

    def send(self, text: str) -> None:
        """A message of the gateway's own, in its place among the events."""
        if not self.closing:
            self._queue.append(text)
            self._wake.set()

    def close_as_slow(self) -> None:
        """What it has not taken is let go of; it is told from where to resume, once it has read what is on its way."""
        first = next((item.id for item in self._queue if isinstance(item, Frame)), self._history.last)
        missed = format_event_id(preceding_id(first))
        self._queue.clear()
        self.is_slow = True
        self.send(encode_message("slow", last_id=missed, detail="too many events were waiting to be read"))
        self.close(4408, "too slow")

    def close(self, code: int, reason: str) -> None:
        """Say what is queued, then end."""
        if self.closing is None:
            self.closing = Closed(code, reason)
            self._wake.set()

    def hear(self, topic: str, keys: tuple[str, ...]) -> None:
        """Begin to hear a topic: what comes from now on, or what was missed since where `resume` said."""
        first = not self.topics
        self.topics[topic] = keys
        self._since[topic] = self._history.last
        self._index()
        if self._resume is not None:
            place, self._resume = self._resume, None
            self._catch_up(place)
        elif first and self._from is None:
            self._from = self._origin = self._seen = self._history.last
            self._held = True
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._release)

    def remove_topic(self, topic: str) -> None:
        self.topics.pop(topic, None)
        self._since.pop(topic, None)
        self._index()

    def resume(self, place: EventId) -> bool:
        """Replay what came after `place`. False: some of that is gone, and only what is to come will come."""
        is_covered = self._history.covers(place)
        if not is_covered:
            self._release()
        elif not self.topics:
            self._resume = place
        elif self._from is None or self._held:  # else it is being replayed already
            self._catch_up(place)
        return is_covered

    def lost(self) -> None:
        """Events that nobody can name were lost on their way here."""
        self._from = None
        self._since = dict.fromkeys(self._since, self._history.last)
        self.send(
            encode_message("gap", last_id=format_event_id(self._history.last), detail="events may have been lost")
        )

    async def next(self) -> Frame | str:
        """The next thing to send. Raises Closed."""
        while True:
            if self._queue:
                return self._dequeue()
            if self.closing:
                raise self.closing
            if self._from is not None and not self._held:
                self._pull()
                await asyncio.sleep(0)
                continue
            self._wake.clear()
            self._is_waiting = True
            try:
                await self._wake.wait()
            finally:
                self._is_waiting = False

    async def drain(self) -> None:
        """Until what was handed to the server has gone out. Raises what the server does."""
        sending, self._in_flight = self._in_flight, None
        if sending is not None:
            await sending

    def is_stalled(self, since: float) -> bool:
        """Whether what it has been sent before then has still not gone out."""
        if self.sending_since is None or self.sending_since > since:
            return False
        return self._in_flight is None or not self._in_flight.done()

    @property
    def is_behind(self) -> bool:
        return self._from is not None or bool(self._queue)

    def _try_send(self, frame: Frame) -> bool:
        """Whether the server took it: what went before has gone."""
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
        """Topics by key, in a fixed order, so that subscribers of the same topics share one frame."""
        keys: dict[str, tuple[str, ...]] = {}
        for topic in sorted(self.topics):
            for key in self.topics[topic]:
                keys[key] = (*keys.get(key, ()), topic)
        self.keys = keys

    def _catch_up(self, place: EventId) -> None:
        """From `place` on, but nothing that was pushed since the topic began to be heard.

        A place ahead of this worker is of an event that another one told of first: it is not told twice.
        """
        if self._from is None:
            self._seen = max(self._seen, self._history.last)
        self._seen = max(self._seen, place)
        self._from = self._origin = place
        self._release()

    def _release(self) -> None:
        self._held = False
        self._wake.set()

    def _pull(self) -> None:
        """Queue the next events of the history; level with it, what is pushed is heard again."""
        place = self._from
        assert place is not None  # noqa: S101 - `take` has looked
        if not self._history.covers(place):
            self.send(
                encode_message(
                    "gap",
                    last_id=format_event_id(self._history.floor),
                    detail="events were forgotten before they were read",
                )
            )
            place = self._history.floor
        events = list(self._history.after(place, REPLAY_BATCH))
        for event in events:
            topics = self._unheard(event)
            if topics:
                self._enqueue(build_frame(event, topics))
        if len(events) < REPLAY_BATCH:
            self._from = None
            self._since = {topic: min(since, self._origin) for topic, since in self._since.items()}
        else:
            self._from = events[-1].id

    def _unheard(self, event: Event) -> tuple[str, ...]:
        """By which topics an event of the past is news: pushed ones are not."""
        at = event.id
        topics = self.keys.get(event.record.key, ())
        return tuple(topic for topic in topics if at <= self._since[topic] or at > self._seen)
