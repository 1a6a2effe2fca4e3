"""Records a worker, sends the recording as many, and runs as many real ones where this machine can."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from redis import Redis

from benchmarks import servers
from benchmarks.scale.fleet import EVENT_SHARE, ROUTINE, Fleet, Fleets
from benchmarks.scale.measuring import SETTLE_SECONDS, Meter, Usage, total
from benchmarks.scale.remote import Remote
from benchmarks.scale.replay.peers import Peers
from benchmarks.scale.replay.recorder import Recorder, Recording
from benchmarks.scale.replay.sender import Replayed, Sender

WARM_SECONDS: Final = 12.0
"""Of load before what is recorded or measured: longer than any interval of a worker, so that all it does has begun."""
RAMP_SECONDS: Final = 3.0
"""Of a replay before it is measured."""
PROFILE_SECONDS: Final = 2.0
"""Of a replay after that, in which each command is timed."""
WRITE_SHARE: Final = dict(ROUTINE)["write"]


class Recorded(msgspec.Struct, frozen=True):
    """`rate` is what the worker achieved, in requests a second. `shared_keys` were in Redis before its load began."""

    rate: float
    shared_keys: list[bytes]
    recording: Recording


class Real(msgspec.Struct, frozen=True):
    """Real workers: `rate` is what all together achieved, in requests a second."""

    workers: int
    usage: Usage
    rate: float
    failed: int


def record(workers: int, rate: float, seconds: float) -> Recorded:
    """One of so many workers, the others of which are as far there as it notices them."""
    with servers.redis() as port, _remote(Recorder, port) as recorder:
        recorded_port, other_port = recorder.call("start")
        with _remote(Peers, _url(other_port)) as peers, _remote(Fleet, _url(recorded_port), 1) as worker:
            _begin(peers)
            worker.call("start")
            worker.call("warm")
            with Redis(port=port) as client:
                shared = list(client.scan_iter(count=1_000))
            others = (workers - 1) * rate
            peers.call("share", others * WRITE_SHARE, others * EVENT_SHARE)
            worker.begin("load", rate, WARM_SECONDS + seconds + 1.0)
            time.sleep(WARM_SECONDS)
            recording = recorder.call("record", seconds)
            done = worker.result()
    return Recorded(sum(done["statuses"].values()) / done["seconds"], shared, recording)


def replay(recorded: Recorded, workers: int) -> Replayed:
    """With an empty server."""
    with servers.redis() as port, _remote(Peers, _url(port)) as peers:
        _begin(peers)
        with _remote(Sender, port, recorded.recording, workers, recorded.shared_keys) as sender:
            replayed: Replayed = sender.call("replay", RAMP_SECONDS, PROFILE_SECONDS)
            return replayed


def run_real(workers: int, processes: int, rate: float, seconds: float) -> Real:
    """With an empty server, and with what the replay has beside its workers."""
    with servers.redis() as port, _remote(Peers, _url(port)) as peers, Redis(port=port) as client:
        _begin(peers)
        fleets = Fleets(_url(port), workers, processes)
        try:
            fleets.all("start")
            fleets.all("warm")
            fleets.all("load", rate, WARM_SECONDS)
            meter = Meter(client)
            done = fleets.all("load", rate, seconds)
            usage = meter.usage()
        finally:
            fleets.close()
    statuses = total(done, "statuses", 1.0)
    achieved = sum(statuses.values()) / max(report["seconds"] for report in done)
    failed = sum(int(count) for status, count in statuses.items() if status != 200)
    return Real(workers, usage, achieved, failed)


def _begin(peers: Remote) -> None:
    peers.call("start")
    time.sleep(SETTLE_SECONDS)  # until it takes the counters
    peers.call("warm")


def _url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


@contextmanager
def _remote(factory: Any, *arguments: Any) -> Iterator[Remote]:
    remote = Remote(factory, *arguments)
    try:
        yield remote
    finally:
        remote.close()
