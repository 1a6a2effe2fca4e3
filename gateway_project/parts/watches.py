"""Builds what renews the watches of webhooks."""

from collections.abc import Callable
from hashlib import blake2b

from django.conf import settings

from resilience.cache.driver import Cache
from routing.observability.events import EventSink
from routing.pipeline import Gateway
from routing.router.hosts import first_name
from routing.warming import LOCAL_HOST
from routing.watches.database import DatabaseWatches
from routing.watches.renewer import Renewer
from routing.watches.watcher import Watcher


def build_watcher(
    gateway: Gateway,
    cache: Cache,
    *,
    secret_key: str,
    clock: Callable[[], float],
    count: Callable[[str, str], None],
    emit: EventSink,
) -> Watcher:
    """`count` takes a webhook's name and what has happened, for the metrics."""
    store, host = DatabaseWatches(), first_name(settings.ALLOWED_HOSTS, LOCAL_HOST).encode()
    renewer = Renewer(gateway, cache, store, host=host, clock=clock, count=count, emit=emit)
    key = blake2b(secret_key.encode(), person=b"watches").digest()
    return Watcher(store, renewer, gateway.live, key=key, clock=clock)
