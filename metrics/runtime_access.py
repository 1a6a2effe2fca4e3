"""What this process's gateway offers beyond its own use: to be read and steered, from Django's threads."""

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
    """This process's, opened if need be."""
    return cast(OperableGateway, runtime.current().opened())


def run_on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Do `work` on the gateway's loop. Never from the loop itself: it would wait for itself."""
    return runtime.current().submit(work).result()
