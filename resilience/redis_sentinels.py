"""Sentinels that say why none of them could be asked: redis-py itself keeps only the kind of each error."""

import ssl
from collections.abc import Iterable
from typing import Any

from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.sentinel import MasterNotFoundError as BlockingMasterNotFoundError
from redis.sentinel import Sentinel as BlockingSentinel

from resilience.redis_tls import RenewedConnection


def refused_certificate(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """What a failed connection says of the other side's certificate."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


class _Client(Redis):
    """`error` is that of the last question, if it failed."""

    error: Exception | None = None

    async def sentinel_masters(self) -> Any:
        self.error = None
        try:
            return await super().sentinel_masters()
        except Exception as error:
            self.error = error
            raise


class Sentinels(Sentinel):
    """The client of the Sentinels for an event loop."""

    def __init__(self, hosts: Iterable[tuple[str, int]], arguments: dict[str, Any]) -> None:
        super().__init__((), sentinel_kwargs=arguments)  # type: ignore[no-untyped-call] # redis-py leaves it untyped
        self._clients = [_Client(host=host, port=port, **arguments) for host, port in hosts]
        if arguments.get("ssl"):
            for client in self._clients:
                client.connection_pool.connection_class = RenewedConnection
        self.sentinels = list(self._clients)  # which redis-py reorders

    async def discover_master(self, service_name: str) -> Any:
        """Raises MasterNotFoundError, whose cause is a certificate that was refused, if there is one."""
        try:
            return await super().discover_master(service_name)
        except MasterNotFoundError as error:
            raise error from _first_refused(client.error for client in self._clients)


class _BlockingClient(BlockingRedis):
    """`error` is that of the last question, if it failed."""

    error: Exception | None = None

    def sentinel_masters(self) -> Any:
        self.error = None
        try:
            return super().sentinel_masters()
        except Exception as error:
            self.error = error
            raise


class BlockingSentinels(BlockingSentinel):
    """The client of the Sentinels for threads."""

    def __init__(self, hosts: Iterable[tuple[str, int]], arguments: dict[str, Any]) -> None:
        super().__init__((), sentinel_kwargs=arguments)  # type: ignore[no-untyped-call] # as above
        self._clients = [_BlockingClient(host=host, port=port, **arguments) for host, port in hosts]
        self.sentinels = list(self._clients)

    def discover_master(self, service_name: str) -> Any:
        """Raises MasterNotFoundError, as above."""
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call] # as above
        except BlockingMasterNotFoundError as error:
            raise error from _first_refused(client.error for client in self._clients)


def _first_refused(errors: Iterable[Exception | None]) -> Exception | None:
    return next((error for error in errors if refused_certificate(error) is not None), None)
