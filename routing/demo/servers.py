"""Runs all five backends in one process, until SIGTERM or until the parent process ends."""

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
PARENT_POLL_SECONDS: Final = 0.2
"""How often the process checks that its parent is still running."""
BACKENDS: Final[Mapping[str, Callable[[], web.Application]]] = {
    "slackIntelligence": slack.slack_backend,
    "gmailIntelligence": gmail.gmail_backend,
    "calendarIntelligence": calendar.calendar_backend,
    "crm": crm.crm_backend,
    "aiRouting": ai.ai_backend,
}


async def run_servers(parent: int, preferred: Mapping[str, int]) -> None:
    """Listen, print the ports as one line of JSON, and serve while `parent` is running."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    runners = {name: web.AppRunner(make(), access_log=None, shutdown_timeout=0.5) for name, make in BACKENDS.items()}
    try:
        ports = {name: await _listen(runner, preferred.get(name, 0)) for name, runner in runners.items()}
        print(json.dumps(ports), flush=True)  # noqa: T201 - read by the parent process
        while os.getppid() == parent and not stopping.is_set():
            await _wait_at_most(PARENT_POLL_SECONDS, stopping)
    finally:
        await asyncio.gather(*(runner.cleanup() for runner in runners.values()))


async def _listen(runner: web.AppRunner, port: int) -> int:
    """Listen on `port`, or on any free port if it is in use; returns the port."""
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        await web.TCPSite(runner, LOOPBACK, 0).start()
    return int(runner.addresses[0][1])


async def _wait_at_most(seconds: float, event: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
