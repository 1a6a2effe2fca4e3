"""Who is changing the configuration: known to whoever writes it down, without passing through every hand between."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple


class Actor(NamedTuple):
    """`name` is `staff:ada` or `command:ada`; `note` says why, where the change alone would not."""

    name: str
    note: str = ""


DEFAULT_ACTOR: Final = Actor("the gateway")

_current: ContextVar[Actor] = ContextVar("actor", default=DEFAULT_ACTOR)


def current_actor() -> Actor:
    return _current.get()


@contextmanager
def acting_as(name: str, note: str = "") -> Iterator[None]:
    """Changes made inside the block are this actor's."""
    token = _current.set(Actor(name, note))
    try:
        yield
    finally:
        _current.reset(token)


def command_user() -> str:
    """Who types a command, as the system knows them; a container's user may have no name."""
    try:
        return f"command:{getpass.getuser()}"
    except (OSError, KeyError):
        return "command:unknown"
