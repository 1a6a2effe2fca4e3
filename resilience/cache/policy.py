"""The cache settings of a route."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

_PARAMETER: Final = re.compile(r"\{([^{}]*)\}")


def fill_tags(tags: Iterable[str], params: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Tags with each `{name}` replaced by its parameter. Parameters that contain braces are not expanded again."""
    values = dict(params)
    return tuple(_PARAMETER.sub(lambda match: values.get(match[1], match[0]), tag) for tag in tags)


class Scope(StrEnum):
    """Who may receive a stored response."""

    USER = "user"
    TENANT = "tenant"
    SHARED = "shared"


CALLER_FIELDS: Final = {"caller": frozenset({Scope.USER}), "tenant": frozenset({Scope.USER, Scope.TENANT})}
"""Caller parameters of tags, with the scopes in which a stored response belongs to one such caller."""


class CachePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The cache settings of one route. Durations are in seconds.

    `tags` may contain `{name}` for a parameter of the route's path, or of CALLER_FIELDS where the scope allows it.
    `override`: `ttl` takes precedence over the response's directives. `credentials` are the request fields by which the
    backend identifies its users: part of the key. None: those that are known to be credentials bypass the cache. Raises
    ValueError, naming the field.
    """

    ttl: float = 300.0
    scope: Scope = Scope.USER
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 300.0
    tags: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    override: bool = False
    credentials: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for field in ("ttl", "stale_while_revalidate", "stale_if_error"):
            if not 0 <= getattr(self, field) <= 31_536_000:
                raise ValueError(f"{field} must be from 0 to 1 year")
        named = {name for tag in self.tags for name in _PARAMETER.findall(tag)}
        for name, scopes in CALLER_FIELDS.items():
            if name in named and self.scope not in scopes:
                raise ValueError(
                    f"tags may not hold {{{name}}} in scope {self.scope}: it would be that of the first caller"
                )
