import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from routing.backend.client import Backend


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run all tests with uvloop, which the server uses, and with asyncio's own event loop."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend()
    yield backend
    await backend.close()
