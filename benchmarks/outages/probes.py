"""Clients and staff of one gateway: each sends its next request when it has its response, and notes what it saw."""

import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from statistics import median
from typing import Final, NamedTuple, Self

import requests

TIMEOUT_SECONDS: Final = 30.0
LOST: Final = 0
"""Noted in place of a status."""


class Sample(NamedTuple):
    """`at` is when the request was sent, in monotonic seconds."""

    at: float
    status: int
    seconds: float


class Probe:
    """One kind of request. `expected` are the statuses of one that is well."""

    def __init__(self, name: str, send: Callable[[int], requests.Response], *, pause: float, expected: int = 200):
        self.name, self.expected = name, expected
        self.samples: list[Sample] = []
        self._send, self._pause = send, pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(TIMEOUT_SECONDS)

    def between(self, begin: float, end: float) -> list[Sample]:
        """The requests that were sent in this period."""
        return [sample for sample in self.samples if begin <= sample.at < end]

    def recovered_at(self, after: float) -> float | None:
        """When the first request was sent after which all are well; None if the last one is not."""
        since = [sample for sample in self.samples if sample.at >= after]
        bad = [number for number, sample in enumerate(since) if sample.status != self.expected]
        rest = since[bad[-1] + 1 :] if bad else since
        return rest[0].at if rest else None

    def _run(self) -> None:
        for number in count():
            if self._stopping.wait(self._pause):
                return
            began = time.monotonic()
            try:
                status = self._send(number).status_code
            except requests.RequestException:
                status = LOST
            self.samples.append(Sample(began, status, time.monotonic() - began))


class Probes:
    """All kinds of requests to one gateway."""

    def __init__(self, address: str, key: str) -> None:
        self._address, self._key = address, key
        services = "/api/v1/bench"
        self.all = [
            self._probe("hit", "GET", lambda _: f"{services}/small", pause=0.05),
            self._probe("miss", "GET", lambda number: f"{services}/small?number={number}", pause=0.05),
            self._probe("write", "POST", lambda _: f"{services}/write", pause=0.1),
            self._probe("bad key", "GET", lambda _: f"{services}/small", pause=0.1, key="unknown", expected=401),
            self._probe("purge by tag", "DELETE", lambda _: "/metrics/cache/bench?tag=none", pause=0.5),
            self._probe("figures", "GET", lambda _: "/metrics", pause=0.5),
            self._probe("login page", "GET", lambda _: "/admin/login/", pause=0.5),
            self._probe("ready", "GET", lambda _: "/health/ready", pause=0.5),
        ]

    def __enter__(self) -> Self:
        for probe in self.all:
            probe.start()
        return self

    def __exit__(self, *_: object) -> None:
        for probe in self.all:
            probe.stop()

    def _probe(
        self,
        name: str,
        method: str,
        path: Callable[[int], str],
        *,
        pause: float,
        key: str | None = None,
        expected: int = 200,
    ) -> Probe:
        session = requests.Session()
        headers = {"X-API-Key": self._key if key is None else key}

        def send(number: int) -> requests.Response:
            url = f"{self._address}{path(number)}"
            return session.request(method, url, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False)

        return Probe(name, send, pause=pause, expected=expected)


def statuses(samples: Sequence[Sample]) -> str:
    """Such as `200`, or `200, 3 x 503`."""
    found: dict[int, int] = {}
    for sample in samples:
        found[sample.status] = found.get(sample.status, 0) + 1
    names = {status: "lost" if status == LOST else str(status) for status in found}
    if len(found) == 1:
        return next(iter(names.values()))
    return ", ".join(f"{number} x {names[status]}" for status, number in sorted(found.items()))


def milliseconds(samples: Sequence[Sample]) -> str:
    """The median and the maximum."""
    times = [sample.seconds * 1_000 for sample in samples]
    return f"{median(times):.0f} / {max(times):.0f}" if times else ""
