"""Builds what obtains and keeps credentials for backends."""

from collections.abc import Callable
from hashlib import blake2b

from gateway_project.config import Config
from resilience.redis import RedisLink
from routing.backend.client import Backend
from routing.credentials.cipher import Cipher
from routing.credentials.connections import Connections, Invalidate
from routing.credentials.database import DatabaseVault
from routing.credentials.driver import Credentials
from routing.credentials.refresher import Refresher
from routing.credentials.store import CHANNEL, Store
from routing.credentials.token_endpoint import TokenEndpoint
from routing.observability.events import EventSink


def open_credentials(
    config: Config,
    store: Store,
    link: RedisLink | None,
    backend: Backend,
    *,
    emit: EventSink,
    invalidate: Invalidate,
    clock: Callable[[], float],
) -> tuple[Credentials, Connections]:
    """The credentials of all services, and the accounts that are connected to them."""
    secret = blake2b(config.secret_key.encode(), person=b"credentials").digest()
    cipher, endpoint = Cipher(config.credential_keys, config.secret_key), TokenEndpoint(backend, clock)
    refresher = Refresher(endpoint, DatabaseVault(), cipher, secret=secret, clock=clock)
    credentials = Credentials(store, refresher, cipher, secret=secret, emit=emit, clock=clock)
    if link is not None:
        link.feed.listen(CHANNEL, lambda message: credentials.forget_service(message.decode("utf-8", "replace")))
    return credentials, Connections(credentials, refresher, endpoint, cipher, invalidate=invalidate)
