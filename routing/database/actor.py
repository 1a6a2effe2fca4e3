"""Who is changing the configuration, as a context variable, so that signal handlers can record it."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple


class Actor(NamedTuple):
    """`name` is `staff:ada` or `command:ada`. `note`, if given, replaces the generated summary of the change; `comment`
    is what the person wrote about it.
    """

    name: str
    note: str = ""
    comment: str = ""


DEFAULT_ACTOR: Final = Actor("the gateway")

_current: ContextVar[Actor] = ContextVar("actor", default=DEFAULT_ACTOR)


def current_actor() -> Actor:
    return _current.get()


@contextmanager
def acting_as(name: str, note: str = "", comment: str = "") -> Iterator[None]:
    """Attribute changes made in the block to this actor."""
    token = _current.set(Actor(name, note, comment))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def commenting(comment: str) -> Iterator[None]:
    """Let the present actor's changes in the block have a comment."""
    actor = _current.get()
    with acting_as(actor.name, actor.note, comment or actor.comment):
        yield


def command_user() -> str:
    """The operating system's user, as an actor's name. In a container it may have none."""
    try:
        return f"command:{getpass.getuser()}"
    except (OSError, KeyError):
        return "command:unknown"
