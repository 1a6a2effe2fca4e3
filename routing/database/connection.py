"""Database connections of threads that serve no Django request."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import close_old_connections


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
