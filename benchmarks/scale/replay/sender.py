"""Sends a recording as many workers at once, and reads what Redis responds."""

import select
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from redis import Redis

from benchmarks.scale.measuring import Meter, Usage
from benchmarks.scale.replay import profile
from benchmarks.scale.replay.copies import Connection, Copy
from benchmarks.scale.replay.recorder import Recording
from benchmarks.scale.replay.templates import Chunk, chunks, names_in, salt
from benchmarks.scale.replay.timetable import Timetable, schedule
from benchmarks.scale.replay.wire import Kind, Ledger
from benchmarks.stats import percentile

DRAIN_SECONDS: Final = 3.0
MAX_WAIT_SECONDS: Final = 0.05


class Replayed(msgspec.Struct, frozen=True):
    """One round, in which each of `workers` sent the recording once. `planned` is how many commands that makes.

    `lateness` is in seconds: at the 50th and 99th percentile, and the largest. `sender` are the seconds of a processor
    that it took to send, in a second. `unanswered` are commands without a
    reply at the end; `errors` are the replies that are errors.
    """

    workers: int
    usage: Usage
    counts: Counter[str]
    planned: int
    lateness: tuple[float, float, float]
    sender: float
    unanswered: int
    errors: Counter[str]
    profile: profile.Profile


class Sender:
    """In a process of its own. `shared_keys` are the keys that the recorded worker's Redis had before."""

    def __init__(self, port: int, recording: Recording, workers: int, shared_keys: Sequence[bytes]) -> None:
        self._client = Redis(port=port)
        for script in recording.scripts:
            self._client.script_load(script)
        self._chunks = chunks(recording, names_in(shared_keys))
        self._seconds = recording.seconds
        self._events = schedule(self._chunks, recording.seconds, workers)
        connections = 1 + max(chunk.connection for chunk in self._chunks)
        known = fences(self._client, self._chunks)
        self._copies = [Copy(port, recording, connections, known) for _ in range(workers)]
        self._ledger = Ledger()
        self._poll = select.epoll()
        self._owners: dict[int, tuple[Copy, Connection]] = {}
        self._blocked: set[Connection] = set()
        self._lateness: list[float] = []
        self._is_draining = False

    async def replay(self, ramp: float, profiled: float) -> Replayed:
        """A round, in which is measured, `ramp` seconds after the beginning, and `profiled` seconds of another one."""
        for copy in self._copies:
            copy.count_in(self._ledger)
            for connection in copy.all_connections:
                self._poll.register(connection.socket, select.EPOLLIN)
                self._owners[connection.socket.fileno()] = copy, connection
            copy.read(self._ledger)
        meter = Meter(self._client)
        timetable = Timetable(self._events, self._seconds)
        self._run(timetable, ramp)
        meter.usage()
        self._lateness.clear()
        before, scripts_before = self._ledger.counts.copy(), _script_seconds(self._client)
        took_before = time.process_time()
        self._run(timetable, ramp + self._seconds)
        took = time.process_time() - took_before
        scripts = (_script_seconds(self._client) - scripts_before) / self._seconds
        usage, counts, lateness = meter.usage(), self._ledger.counts - before, sorted(self._lateness)
        profile.start(self._client)
        self._run(timetable, ramp + self._seconds + profiled)
        profile.stop(self._client)
        self._drain()
        return Replayed(
            workers=len(self._copies),
            usage=usage,
            counts=counts,
            planned=len(self._copies) * sum(len(chunk.expected) for chunk in self._chunks),
            lateness=(percentile(lateness, 50), percentile(lateness, 99), lateness[-1]),
            sender=took / self._seconds,
            unanswered=self._unanswered(),
            errors=self._ledger.errors,
            profile=profile.read(self._client, profiled).corrected(scripts),
        )

    async def close(self) -> None:
        self._poll.close()
        self._client.close()

    def _run(self, timetable: Timetable, until: float) -> None:
        """Send what is due until so many seconds after the beginning."""
        while (now := timetable.now()) < until:
            while timetable.due <= now < until:
                self._send(timetable)
                now = timetable.now()
            self._receive(max(0.0, min(timetable.due - now, until - now, MAX_WAIT_SECONDS)))

    def _send(self, timetable: Timetable) -> None:
        self._lateness.append(timetable.now() - timetable.due)
        event, turn = timetable.take()
        connection = self._copies[event.worker].send(event.chunk, salt(event.worker, turn), self._ledger)
        if connection.unsent:
            self._blocked.add(connection)

    def _receive(self, timeout: float) -> None:
        for number, _ in self._poll.poll(timeout):
            copy, connection = self._owners[number]
            if copy.receive(connection) and not self._is_draining:
                copy.read(self._ledger)
        for connection in [each for each in self._blocked if each.unsent]:
            connection.send(b"")
        self._blocked = {each for each in self._blocked if each.unsent}

    def _drain(self) -> None:
        """Wait for the last replies."""
        self._is_draining = True
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._unanswered() and time.monotonic() < deadline:
            self._receive(MAX_WAIT_SECONDS)

    def _unanswered(self) -> int:
        return sum(each.replies.missing for copy in self._copies for each in copy.all_connections)


def fences(client: Any, chunks: Sequence[Chunk]) -> dict[bytes, bytes]:
    """What a look-up would return now, for the services in whose cache these chunks store."""
    keys = {command.key for chunk in chunks for command in chunk.expected if command.kind is Kind.STORE}
    found = {key: client.zscore(key, "seq") for key in keys}
    return {key: b"%d" % int(number) for key, number in found.items() if number is not None}


def _script_seconds(client: Any) -> float:
    """Of execution, in all scripts so far."""
    found = client.info("commandstats")
    return sum(float(found[name]["usec"]) for name in ("cmdstat_evalsha", "cmdstat_eval") if name in found) / 1e6
