"""What an operator lets the cache ignore in a backend's responses: pure functions.

A response with ignored words is stored as if it did not have them. It is sent to clients as it is, except for a cookie,
which only the client gets whose request caused it: those who reuse the response must not get another's session.
"""

from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from typing import Final

from resilience.cache.directives import EXCESSIVE, Directives


class Ignorable(StrEnum):
    """What can be ignored: a directive as a whole, or a header field.

    `max-age` includes `s-maxage`, and `must-revalidate` includes `proxy-revalidate`: shared caches read both. `pragma`
    has no meaning in a response (RFC 9111 section 5.4), and is never read.
    """

    PRIVATE = "private"
    NO_STORE = "no-store"
    NO_CACHE = "no-cache"
    MAX_AGE = "max-age"
    MUST_REVALIDATE = "must-revalidate"
    SET_COOKIE = "set-cookie"
    EXPIRES = "expires"
    PRAGMA = "pragma"


_DIRECTIVES: Final = {
    Ignorable.PRIVATE: (b"private",),
    Ignorable.NO_STORE: (b"no-store",),
    Ignorable.NO_CACHE: (b"no-cache",),
    Ignorable.MAX_AGE: (b"max-age", b"s-maxage"),
    Ignorable.MUST_REVALIDATE: (b"must-revalidate", b"proxy-revalidate"),
}
_FIELDS: Final = {word: word.encode() for word in (Ignorable.SET_COOKIE, Ignorable.EXPIRES, Ignorable.PRAGMA)}


def ignored_fields(ignore: Collection[Ignorable]) -> list[bytes]:
    """The names of the header fields that are not read."""
    return [name for word, name in _FIELDS.items() if word in ignore]


def without_ignored(control: Directives, ignore: Collection[Ignorable]) -> Directives:
    """The directives that are not ignored."""
    ignored = {name for _, name in _ignored_directives(control, ignore)}
    return {name: argument for name, argument in control.items() if name not in ignored} if ignored else control


def ignored_words(control: Directives, names: Collection[bytes], ignore: Sequence[Ignorable]) -> tuple[Ignorable, ...]:
    """Which words a response has that are ignored, in their order. `names` are those of its header fields."""
    found = {word for word, _ in _ignored_directives(control, ignore)}
    found.update(word for word, name in _FIELDS.items() if word in ignore and name in names)
    return tuple([word for word in ignore if word in found])


def _ignored_directives(control: Directives, ignore: Collection[Ignorable]) -> Iterator[tuple[Ignorable, bytes]]:
    """The ignored directives among `control`. Those that name fields are about these alone, and are not ignored; nor is
    a directive that occurs twice with different arguments, or a field that is too long to be read.
    """
    if control is EXCESSIVE:
        return
    for word, names in _DIRECTIVES.items():
        if word in ignore:
            for name in names:
                if name in control and (control[name] is None or word is Ignorable.MAX_AGE):
                    yield word, name
