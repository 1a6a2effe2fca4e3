"""Access to this process's gateway from Django's threads: to read its state and to operate it."""

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar, cast

from metrics.counting.flusher import Flusher
from resilience.breaker.driver import Breakers
from resilience.cache.driver import Cache
from routing import runtime
from routing.configuration.reload import Reloader

T = TypeVar("T")


class OperableGateway(runtime.Components, Protocol):
    cache: Cache
    breakers: Breakers
    reloader: Reloader
    flusher: Flusher


def running() -> OperableGateway:
    """This process's gateway; starts it if it is not running."""
    return cast(OperableGateway, runtime.current().opened())


def run_on_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the gateway's event loop and wait for it. Deadlocks if called from the loop itself."""
    return runtime.current().wait_for(coroutine)
