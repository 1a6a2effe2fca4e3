"""The same tests for each implementation of a store."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from resilience.redis import RedisLink


@asynccontextmanager
async def opened_store(
    request: pytest.FixtureRequest, memory: Callable[[], Any], redis: Callable[[RedisLink], Any]
) -> AsyncIterator[Any]:
    """The store of the fixture's parameter, `memory` or `redis`; the latter in a real Redis."""
    if request.param == "memory":
        yield memory()
        return
    link = RedisLink(request.getfixturevalue("redis_url"))
    await link.start()
    yield redis(link)
    await link.close()
