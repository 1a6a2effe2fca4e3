"""How soon a cluster spares a failing backend: `python -m benchmarks.circuit [--rounds 10]`; needs redis-server.

Two workers on a Redis, a backend that answers 500 at once, and 200 clients who ask together, each round at a circuit of
its own. The backend itself keeps when each call began: what begins after its fifth answer is what the news cost.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple, Self, cast

import uvloop

from benchmarks import machine, servers
from benchmarks.crowd import Answer, crowd
from benchmarks.figures import Aim, percentile, table, verdict
from benchmarks.origin import FAILURE

CROWD: Final = 200
SECONDS: Final = 1.0
"""How long a round's clients go on asking."""
PAUSE: Final = 0.05
OPEN_SECONDS: Final = 5
PERMITS: Final = 2
MOST_CALLS: Final = 20_000
NEWS_AIM, OURS_AIM, PROBES_AIM = Aim(100, most=True), Aim(1.0, most=True), Aim(PERMITS, most=True)
SERVICE: Final = f"""
    targets: [{{url: "$origin"}}]
    cache: off
    retries: {{attempts: 1}}
    breaker: {{failure_threshold: 5, open_for: {OPEN_SECONDS}s, half_open_permits: {PERMITS}}}
"""
_spawning: Final = multiprocessing.get_context("spawn")


class Round(NamedTuple):
    """`news` is how many milliseconds after the fifth failure the last call began; `ours` the refusals' own times."""

    calls: int
    news: float
    ours: list[float]


class FailingBackend:
    """A process of its own inside `with`, that keeps its calls' times: monotonic seconds, begun and answered."""

    def __init__(self) -> None:
        self.url = ""
        self._begun: Any = _spawning.Array("d", MOST_CALLS)
        self._calls: Any = _spawning.Value("L", 0)
        self._answered: Any = _spawning.Array("d", MOST_CALLS)
        self._hangs: Any = _spawning.Value("B", 0)
        self._here, there = _spawning.Pipe()
        arguments = (there, self._begun, self._answered, self._calls, self._hangs)
        self._process = _spawning.Process(target=_serve, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.url = f"http://127.0.0.1:{self._here.recv()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def calls(self) -> int:
        return int(self._calls.value)

    def hang(self) -> None:
        self._hangs.value = 1

    def since(self, call: int) -> tuple[list[float], list[float]]:
        """When the calls from that one on began, and were answered."""
        return self._begun[call : self.calls], self._answered[call : self.calls]


class _Failing(asyncio.Protocol):
    def __init__(self, begun: Any, answered: Any, calls: Any, hangs: Any) -> None:
        self._begun, self._answered, self._calls, self._hangs = begun, answered, calls, hangs

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, _: bytes) -> None:
        call = self._calls.value
        self._begun[call] = time.monotonic()
        self._calls.value = call + 1
        if not self._hangs.value:
            self._transport.write(FAILURE)
            self._answered[call] = time.monotonic()


def _serve(port: Connection, begun: Any, answered: Any, calls: Any, hangs: Any) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Failing(begun, answered, calls, hangs), "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


def asked(gateway: servers.Running, service: str, seconds: float) -> list[Answer]:
    """What the crowd is answered, in the order of the answers."""
    until = time.monotonic() + seconds

    def goes_on(answer: Answer) -> bool:
        return answer.ended < until

    found = uvloop.run(crowd(f"{gateway.services}/{service}/x", gateway.key, CROWD, goes_on, PAUSE))
    return sorted(found, key=lambda answer: answer.ended)


def one_round(gateway: servers.Running, backend: FailingBackend, service: str) -> Round:
    first = backend.calls
    answers = asked(gateway, service, SECONDS)
    begun, answered = backend.since(first)
    news = (max(begun) - sorted(answered)[4]) * 1_000
    return Round(len(begun), news, [answer.ours for answer in answers if answer.status == 503])


def probes(gateway: servers.Running, backend: FailingBackend, service: str) -> int:
    """How many calls a hung backend gets, of a crowd that goes on asking after the circuit has half-opened."""
    backend.hang()
    before = backend.calls
    time.sleep(OPEN_SECONDS)
    uvloop.run(_for_a_while(asked_for_ever(gateway, service)))
    return backend.calls - before


async def asked_for_ever(gateway: servers.Running, service: str) -> None:
    await crowd(f"{gateway.services}/{service}/x", gateway.key, CROWD, lambda _answer: True, PAUSE)


async def _for_a_while(asking: Any) -> None:
    """The probes themselves are never answered."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            await asking


def section(rounds: Sequence[Round], probed: int) -> str:
    ours = sorted(each for one in rounds for each in one.ours)
    news = sorted(one.news for one in rounds)
    calls = sorted(one.calls for one in rounds)
    rows = [
        _row("last call after the fifth failure, ms", news[len(news) // 2], news[-1], NEWS_AIM),
        _row("gateway's own time of a refusal, ms", percentile(ours, 50), percentile(ours, 99), OURS_AIM),
        _row("calls the backend got, of 200 at once", calls[len(calls) // 2], calls[-1], None),
        _row("probes while it hangs", probed, probed, PROBES_AIM),
    ]
    head = ("", "median", "worst (99 % of refusals)", "aim", "")
    return f"{len(rounds)} rounds, {len(ours)} refusals.\n\n{table(head, rows)}"


def _row(name: str, middle: float, worst: float, aim: Aim | None) -> tuple[str, ...]:
    return name, f"{middle:.3g}", f"{worst:.3g}", f"{aim.bound:g}" if aim else "", verdict(worst, aim)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.circuit")
    parser.add_argument("--rounds", type=int, default=10)
    wanted = parser.parse_args(arguments).rounds
    names = [f"failing{number}" for number in range(wanted)]
    configuration = "version: 1\nservices:\n" + "".join(f"  {name}:{SERVICE}" for name in names)
    with (
        FailingBackend() as backend,
        servers.redis() as port,
        servers.gateway(backend.url, workers=2, redis_port=port, configuration=configuration) as gateway,
    ):
        rounds = [one_round(gateway, backend, name) for name in names]
        probed = probes(gateway, backend, names[-1])
    print(machine.described())
    print(section(rounds, probed))


if __name__ == "__main__":
    main(sys.argv[1:])
