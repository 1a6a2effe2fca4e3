"""All five backends in one process, until it is told to end or its parent is gone."""

import asyncio
import errno
import json
import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from routing.demo import ai, calendar, crm, gmail, slack

LOOPBACK: Final = "127.0.0.1"
TICK_SECONDS: Final = 0.2
"""How often the process looks whether its parent is still the same."""
BACKENDS: Final[Mapping[str, Callable[[], web.Application]]] = {
    "slackIntelligence": slack.application,
    "gmailIntelligence": gmail.application,
    "calendarIntelligence": calendar.application,
    "crm": crm.application,
    "aiRouting": ai.application,
}


async def serve(parent: int, preferred: Mapping[str, int]) -> None:
    """Listen, print the ports as one line of JSON, and serve while `parent` is there."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    runners = {name: web.AppRunner(make(), access_log=None, shutdown_timeout=0.5) for name, make in BACKENDS.items()}
    try:
        ports = {name: await _listen(runner, preferred.get(name, 0)) for name, runner in runners.items()}
        print(json.dumps(ports), flush=True)  # noqa: T201 - this line is the process's answer to its parent
        while os.getppid() == parent and not ended.is_set():
            await _at_most(TICK_SECONDS, ended)
    finally:
        await asyncio.gather(*(runner.cleanup() for runner in runners.values()))


async def _listen(runner: web.AppRunner, port: int) -> int:
    """The port it listens on: another than `port` where that is taken."""
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        await web.TCPSite(runner, LOOPBACK, 0).start()
    return int(runner.addresses[0][1])


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
