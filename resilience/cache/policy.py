"""What a route wants of the cache."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

_PARAMETER: Final = re.compile(r"\{([^{}]*)\}")


def fill_tags(tags: Iterable[str], params: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Tags with each `{name}` replaced by the path's value: once, so that a value with braces is only a value."""
    values = dict(params)
    return tuple(_PARAMETER.sub(lambda match: values.get(match[1], match[0]), tag) for tag in tags)


class Scope(StrEnum):
    """Who may be given a stored answer."""

    USER = "user"
    TENANT = "tenant"
    SHARED = "shared"


CALLER_FIELDS: Final = {"caller": frozenset({Scope.USER}), "tenant": frozenset({Scope.USER, Scope.TENANT})}
"""What a tag may say of who is asking, and in which scopes an answer is of one such alone."""


class CachePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The cache settings of one route. Durations are seconds.

    `tags` may hold `{name}`, filled in from the route's path, and the caller's fields where the scope makes an answer
    theirs alone. Raises ValueError, naming the field and its bound.
    """

    ttl: float = 300.0
    scope: Scope = Scope.USER
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 300.0
    tags: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    override: bool = False

    def __post_init__(self) -> None:
        for field in ("ttl", "stale_while_revalidate", "stale_if_error"):
            if not 0 <= getattr(self, field) <= 31_536_000:
                raise ValueError(f"{field} must be from 0 to 1 year")
        named = {name for tag in self.tags for name in _PARAMETER.findall(tag)}
        for name, scopes in CALLER_FIELDS.items():
            if name in named and self.scope not in scopes:
                raise ValueError(
                    f"tags may not hold {{{name}}} in scope {self.scope}: it would be whoever happened to ask first"
                )
