"""The DatabaseWrapper of this backend, found by Django through its name."""

import threading
from typing import Any, Final

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.utils.functional import cached_property

from gateway_project.postgresql.connection import LimitedConnection
from gateway_project.postgresql.errors import OutageErrorWrapper
from gateway_project.postgresql.pool import ConnectionPool

_making: Final = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    """The options `pool` are those of ConnectionPool. Without them, connections are not pooled."""

    _connection_pools: dict[str, ConnectionPool] = {}  # noqa: RUF012 - Django's own attribute, one for the process

    @property
    def pool(self) -> ConnectionPool | None:
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        with _making:
            if self.alias not in self._connection_pools:
                self._connection_pools[self.alias] = ConnectionPool(self._connect, **options)
            return self._connection_pools[self.alias]

    @cached_property
    def wrap_database_errors(self) -> OutageErrorWrapper:
        return OutageErrorWrapper(self)

    def _connect(self) -> Any:
        connection = LimitedConnection.open(self.get_connection_params())
        self._configure_connection(connection)  # type: ignore[attr-defined] # missing in the stubs
        return connection
