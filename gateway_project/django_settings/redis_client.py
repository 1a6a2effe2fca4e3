"""django-redis over every kind of address that REDIS_URL may have, with keys that are the gateway's alone.

A value that another program has written under one of them counts as missing.
"""

from functools import cache
from typing import Any, Final

from django_redis.client import DefaultClient
from django_redis.exceptions import ConnectionInterrupted
from django_redis.pool import ConnectionFactory

from resilience.redis_address import parse
from resilience.redis_client import FAILURES, connect_blocking

TIMEOUT_SECONDS: Final = 0.5

_connect = cache(lambda url: connect_blocking(parse(url), TIMEOUT_SECONDS))


class AddressConnectionFactory(ConnectionFactory):  # type: ignore[misc] # django-redis is untyped
    """One client for each address in this process, whose connections reconnect by themselves."""

    def connect(self, url: str) -> Any:
        try:
            return _connect(url)
        except FAILURES as error:  # of a cluster, which is connected at once
            raise ConnectionInterrupted(connection=None) from error


class PrefixClient(DefaultClient):  # type: ignore[misc] # django-redis is untyped
    """The database also holds the gateway's own keys, and perhaps those of other programs."""

    def decode(self, value: Any) -> Any:
        try:
            return super().decode(value)
        except (ValueError, RecursionError) as error:
            raise ConnectionInterrupted(connection=None) from error

    def clear(self, client: Any = None) -> None:
        """Delete the keys under this cache's prefix, where django-redis flushes the database."""
        self.delete_pattern("*", client=client)
