"""Decides recorded requests, at the times at which they came, under one configuration."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final

from metrics.replay.decision import Decision
from metrics.replay.recorded_backend import CURRENT, CallProgress
from metrics.replay.recorded_call import Observed, RecordedCall
from metrics.replay.recorded_callers import StandIns, is_presented
from metrics.replay.recorded_request import request_of
from metrics.replay.simulated_gateway import Decisions, Environment, SimulatedGateway
from metrics.replay.virtual_time import VirtualTimeLoop
from metrics.request_log.record import RequestRecord
from resilience.task_set import TaskSet
from routing.errors import GatewayError
from routing.http import Response
from routing.messages.bodies import drain
from routing.router.live import LoadedConfiguration

CHECK_EVERY: Final = 128
"""Requests after which it is checked how long all have taken."""


class ReplayTooLong(GatewayError):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "replay_too_long"
    title = "The replay takes too long"


class Recording:
    """Records in the order in which the requests came, and what all simulations of them share."""

    def __init__(self, records: Sequence[RequestRecord]) -> None:
        self.records: Final = sorted(records, key=lambda record: record.at)
        self.stand_ins: Final = StandIns(record.caller for record in self.records)
        self.calls: Final[list[RecordedCall]] = list(map(Observed(self.records).call, self.records))

    @property
    def origin(self) -> float:
        """When the first request came, in Unix time."""
        return self.records[0].at if self.records else 0.0


def simulate(
    recording: Recording,
    configuration: LoadedConfiguration,
    environment: Environment,
    *,
    deadline: float,
    timer: Callable[[], float] = time.monotonic,
) -> list[Decision | None]:
    """The decision about each record; None for a request whose decision was never made. No loop may run in this thread.

    Raises ReplayTooLong after `deadline`, which is a time of `timer`.
    """
    decisions = Decisions()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        gateway = SimulatedGateway(
            configuration,
            environment,
            recording.stand_ins,
            decisions,
            origin=recording.origin,
            elapsed=loop.time,
        )
        runner.run(_play(recording, gateway, deadline, timer))
    return [decisions.found.get(index) for index in range(len(recording.records))]


async def _play(recording: Recording, gateway: SimulatedGateway, deadline: float, timer: Callable[[], float]) -> None:
    elapsed, tasks = asyncio.get_running_loop().time, TaskSet()
    for index, record in enumerate(recording.records):
        # Also without a wait, others go on in between, as between any two requests.
        await asyncio.sleep(max(0.0, record.at - recording.origin - elapsed()))
        if index % CHECK_EVERY == 0 and timer() > deadline:
            raise ReplayTooLong("the replay has taken too long: replay fewer requests")
        request = request_of(record, index, recording.stand_ins.credential(record.caller))
        if is_presented(record.caller):
            request.caller = gateway.callers.presented(record.caller)
        CURRENT.set(CallProgress(recording.calls[index]))
        response = gateway.answer(request)
        if not isinstance(response, Response):
            tasks.create(_finish(response))
    await tasks.wait()
    await gateway.close()


async def _finish(pending: Awaitable[Response]) -> None:
    """Read the response to its end: until then its call has a slot, and it is not stored."""
    await drain(await pending)
