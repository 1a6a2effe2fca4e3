"""The error of an unavailable store, and of one whose data cannot be read."""

import contextlib
from collections.abc import Iterator

import msgspec


class StoreUnavailable(Exception):
    """The shared store is unreachable, too slow or refuses the command. Callers continue on what this worker knows."""


@contextlib.contextmanager
def reading_shared_data() -> Iterator[None]:
    """Raise StoreUnavailable where shared data is not as this gateway writes it: another program may have changed it,
    or another version of the gateway.
    """
    try:
        yield
    except (msgspec.MsgspecError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise StoreUnavailable("the shared data is malformed") from error
