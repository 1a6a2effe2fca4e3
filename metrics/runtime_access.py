"""What this process's gateway offers beyond its own use: to be read and steered, from Django's threads."""

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar, cast

from metrics.counting.flushing import Flusher
from resilience.breaker.driver import Breakers
from resilience.cache.driver import Cache
from routing import runtime
from routing.configuration.reload import Reloader

Answer = TypeVar("Answer")


class Parts(runtime.Parts, Protocol):
    cache: Cache
    breakers: Breakers
    reloader: Reloader
    flusher: Flusher


def parts() -> Parts:
    """This process's, opened if need be."""
    return cast(Parts, runtime.current().opened())


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Do `work` on the gateway's loop. Never from the loop itself: it would wait for itself."""
    return runtime.current().submit(work).result()
