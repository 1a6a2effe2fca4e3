"""TLS connections to Redis whose files may be renewed: redis-py's read them once for each connection object, which its
pools keep for as long as the process runs.
"""

import os
from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import SSLConnection
from redis.asyncio.sentinel import SentinelManagedConnection

Version = tuple[int, int, int]
"""Of a file: what changes when it is replaced or written."""


class RenewedConnection(SSLConnection):
    """Reads its certificates again, as it connects, if a file has changed. A file that cannot be read is an OSError."""

    _versions: tuple[Version, ...] | None = None

    def _connection_arguments(self) -> Mapping[str, Any]:
        tls = self.ssl_context
        versions = tuple(_version(path) for path in (tls.ca_certs, tls.certfile, tls.keyfile) if path)
        if versions != self._versions:
            tls.context, self._versions = None, versions
        return super()._connection_arguments()


class RenewedSentinelConnection(SentinelManagedConnection, RenewedConnection):
    """The same, to the master that the sentinels name."""


def _version(path: str) -> Version:
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns, found.st_size
