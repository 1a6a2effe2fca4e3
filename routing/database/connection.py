"""Database connections of threads that serve no Django request."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections, connections

T = TypeVar("T")


@contextmanager
def thread_connection() -> Iterator[None]:
    """Close stale and broken connections before and after the block, as Django does around a request.

    Where connections are pooled, this thread's connection returns to the pool.
    """
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


def release_connection() -> None:
    """Give this thread's pooled connection back before a wait for something else; the next query takes one again.

    Threads that keep theirs while they wait for work that needs one too would wait for each other.
    """
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["OPTIONS"].get("pool") and not connection.in_atomic_block:
            connection.close()


async def in_thread(work: Callable[[], T], unavailable: type[Exception], executor: Executor | None = None) -> T:
    """The result of `work` in a thread that has a connection. Raises `unavailable` if the database fails.

    `executor` is the event loop's by default.
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, _connected, work)
    except (DatabaseError, InterfaceError) as error:  # InterfaceError: the connection is closed already
        raise unavailable(type(error).__name__) from error


def _connected(work: Callable[[], T]) -> T:
    with thread_connection():
        return work()
