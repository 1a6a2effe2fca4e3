"""redis-py clients for an address, whose calls end within a time limit."""

from contextlib import closing
from typing import Any, Final

from redis import Redis as BlockingRedis
from redis import RedisCluster as BlockingCluster
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedConnection
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode as BlockingClusterNode
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry as BlockingRetry

from resilience.redis_address import RedisAddress
from resilience.redis_sentinels import BlockingSentinels, Sentinels, refused_certificate
from resilience.redis_tls import RenewedConnection, RenewedSentinelConnection

POOL_SIZE: Final = 64
FAILURES: Final = (RedisError, RedisClusterException, OSError)
"""What a client raises while its server is unreachable or refuses a command. The second is that of an unreachable
cluster, and not a RedisError.
"""

REFUSED_USER: Final = (AuthenticationError, NoPermissionError)
"""What it raises for a wrong user or password, and for a user that lacks rights."""

REFUSED_COMMAND: Final = ResponseError
"""What it raises for an error that the server responds with: it is reachable."""

UNKNOWN_SCRIPT: Final = NoScriptError
"""What it raises for a script that the server does not have yet."""

Client = Redis | RedisCluster


def connect(address: RedisAddress, timeout: float) -> Client:
    """A client that connects on its first call. `timeout` is in seconds."""
    limits: dict[str, Any] = {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    if address.kind == "cluster":
        return _cluster(address, limits)
    # After a restart of the server every pooled connection is dead: reconnect once, without a pause.
    limits["retry"] = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
    if address.kind == "sentinel":
        return _master(address, limits)
    arguments: dict[str, Any] = {"db": address.database, **address.login, **limits}
    arguments |= {name: value for name, value in address.tls.items() if name != "ssl"}
    kind: type[Connection | UnixDomainSocketConnection] = RenewedConnection if address.tls else Connection
    if address.path is None:
        arguments["host"], arguments["port"] = address.hosts[0]
    else:
        kind, arguments["path"] = UnixDomainSocketConnection, address.path
    pool = BlockingConnectionPool(connection_class=kind, max_connections=POOL_SIZE, timeout=timeout, **arguments)
    return Redis.from_pool(pool)


def _cluster(address: RedisAddress, limits: dict[str, Any]) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in address.hosts]
    cluster = _Cluster(startup_nodes=nodes, **address.login, **address.tls, **limits)
    if address.tls:  # redis-py takes no class of connections here
        cluster.connection_kwargs["connection_class"] = RenewedConnection
        for node in cluster.startup_nodes:
            node.connection_class = RenewedConnection
    return cluster


def _master(address: RedisAddress, limits: dict[str, Any]) -> Redis:
    """A client of the master that the sentinels name whenever it connects."""
    sentinels = Sentinels(address.hosts, {**address.sentinel_login, **address.tls, **limits})
    tls = {name: value for name, value in address.tls.items() if name != "ssl"}
    master: Redis = sentinels.master_for(
        address.master,
        max_connections=POOL_SIZE,
        db=address.database,
        connection_class=RenewedSentinelConnection if tls else SentinelManagedConnection,
        **address.login,
        **tls,
        **limits,
    )
    return master


async def close(client: Client) -> None:
    """Close the client's connections, and those to its sentinels."""
    if isinstance(client, Redis) and isinstance(client.connection_pool, SentinelConnectionPool):
        for sentinel in client.connection_pool.sentinel_manager.sentinels:
            await sentinel.aclose()
    await client.aclose()


async def drop_idle_connections(client: Client) -> None:
    """Close the connections that no call uses, so that the next calls open new ones. A cluster's client follows the
    redirections of its nodes instead.
    """
    if isinstance(client, Redis):
        await client.connection_pool.disconnect(inuse_connections=False)


def connect_blocking(address: RedisAddress, timeout: float) -> BlockingRedis | BlockingCluster:
    """A client for threads, as `connect` makes one for a loop.

    Its calls are made twice at most and without a pause: redis-py's own retries would last for seconds.
    """
    retry = BlockingRetry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
    limits: dict[str, Any] = {"socket_connect_timeout": timeout, "socket_timeout": timeout, "retry": retry}
    login: dict[str, Any] = {**address.login, **address.tls, **limits}
    if address.kind == "cluster":
        nodes = [BlockingClusterNode(*host) for host in address.hosts]  # type: ignore[no-untyped-call]
        return _BlockingCluster(startup_nodes=nodes, **login)
    login["db"] = address.database
    if address.kind == "sentinel":
        sentinels = BlockingSentinels(address.hosts, {**address.sentinel_login, **address.tls, **limits})
        master: BlockingRedis = sentinels.master_for(address.master, **login)  # type: ignore[no-untyped-call]
        return master
    if address.path is not None:
        return BlockingRedis(unix_socket_path=address.path, **login)
    host, port = address.hosts[0]
    return BlockingRedis(host=host, port=port, **login)


def ask_sentinel(address: RedisAddress, host: str, port: int, timeout: float) -> str:
    """The master's address, as one of the sentinels names it; "" if it watches none of that name. Raises FAILURES."""
    limits: dict[str, Any] = {"socket_connect_timeout": timeout, "socket_timeout": timeout}
    limits["retry"] = BlockingRetry(NoBackoff(), 0)
    with closing(BlockingRedis(host=host, port=port, **address.sentinel_login, **address.tls, **limits)) as client:
        found: Any = client.sentinel_get_master_addr_by_name(address.master)
    if not found:
        return ""
    name, number = found
    return f"{name.decode() if isinstance(name, bytes) else name}:{number}"


def channel_host(address: RedisAddress) -> dict[str, Any]:
    """The address as channels-redis takes it. Of a cluster it is one node: messages reach the subscribers of all."""
    tls = {name: value for name, value in address.tls.items() if name != "ssl"}
    if address.kind == "sentinel":
        return {
            "master_name": address.master,
            "sentinels": list(address.hosts),
            "sentinel_kwargs": {**address.sentinel_login, **address.tls},
            "db": address.database,
            "connection_class": RenewedSentinelConnection if tls else SentinelManagedConnection,
            **address.login,
            **tls,
        }
    host: dict[str, Any] = {"db": address.database, **address.login, **tls}
    if address.path is not None:
        return host | {"path": address.path, "connection_class": UnixDomainSocketConnection}
    name, port = address.hosts[0]
    return host | {"host": name, "port": port, "connection_class": RenewedConnection if tls else Connection}


def failure_reason(error: BaseException) -> str:
    """The error's type, and why a certificate was refused. Nothing of the address."""
    refused = refused_certificate(error)
    return type(error).__name__ if refused is None else f"{type(error).__name__}: {refused.verify_message}"


class _Cluster(RedisCluster):
    RedisClusterRequestTTL = 6
    """Attempts, the last three 50 ms apart, while a slot is moved: redis-py's 16 would take a call's whole time."""


class _BlockingCluster(BlockingCluster):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Raises ConnectionError for an unreachable cluster, as the other clients do."""
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except RedisClusterException as error:
            raise RedisConnectionError("the cluster is unreachable") from error

    def mget(self, keys: Any, *more: Any) -> Any:
        """The values of keys in any slots."""
        return self.mget_nonatomic(keys, *more)
