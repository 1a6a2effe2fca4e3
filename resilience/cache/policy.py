"""The cache settings of a route."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from resilience.cache.fields import Header
from resilience.cache.ignoring import Ignorable

LOWER: Final = "|lower"
"""After the name in a placeholder: the value in lower case, of names whose case does not matter."""
_PARAMETER: Final = re.compile(r"\{([^{}]*?)(\|lower)?\}")


def fill_tags(tags: Iterable[str], params: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Tags with each `{name}` replaced by its parameter, and `{name|lower}` by it in lower case. Parameters that
    contain braces are not expanded again.
    """
    values = dict(params)

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1], match[0])
        return found.lower() if match[2] else found

    return tuple(_PARAMETER.sub(value, tag) for tag in tags)


def names_in(tag: str) -> tuple[str, ...]:
    """The names in the placeholders of a tag."""
    return tuple(match[1] for match in _PARAMETER.finditer(tag))


class Scope(StrEnum):
    """Who may receive a stored response."""

    USER = "user"
    TENANT = "tenant"
    SHARED = "shared"


CALLER_FIELDS: Final = {"caller": frozenset({Scope.USER}), "tenant": frozenset({Scope.USER, Scope.TENANT})}
"""Caller parameters of tags, with the scopes in which a stored response belongs to one such caller."""


CACHEABLE_METHODS: Final = ("GET", "HEAD", "POST")
"""Methods whose responses may be stored. POST only where it is named: there it reads, and changes nothing."""
BODY_PLACEHOLDER: Final = "body."
QUERY_PLACEHOLDER: Final = "query."
"""What the names of a body's fields, and of a query's parameters, begin with in tags."""


class ResponseCondition(Protocol):
    """A condition on a response. `body` is all of it, None if it is not known or too long to be read."""

    @property
    def needs_body(self) -> bool:
        """Whether the body may decide."""

    def needs_body_of(self, status: int, headers: list[Header]) -> bool:
        """Whether the body decides about a response with this status and these header fields."""

    def matches(self, status: int, headers: list[Header], body: bytes | None) -> bool: ...


class QueryPolicy(msgspec.Struct, frozen=True):
    """What of a query is part of a key: all parameters but those to `ignore`, in any order if `sort`."""

    ignore: tuple[str, ...] = ()
    sort: bool = False


class KeyPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What is part of a cache key besides what always is.

    `body`: the fields of a request's content, dots leading into objects; None for all of it. `headers`: request fields.
    """

    body: tuple[str, ...] | None = None
    query: QueryPolicy = QueryPolicy()
    headers: tuple[str, ...] = ()


class OwnInvalidation(msgspec.Struct, frozen=True):
    """Which responses say that what their caller has stored is out of date, and the tags of what that is."""

    when: ResponseCondition
    tags: tuple[str, ...]


class CachePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The cache settings of one route. Durations are in seconds.

    `tags` may contain `{name}` for a parameter of the route's path, or of CALLER_FIELDS where the scope allows it.
    `override`: `ttl` takes precedence over the response's directives. `credentials` are the request fields by which the
    backend identifies its users: part of the key. None: those that are known to be credentials bypass the cache.
    `cookies` are those that are part of the key; None: all, and none in scope shared.

    `ignore`: what is not read of responses; `ignore_vary`: request fields in their Vary that keep no variants apart.
    Under `scope: shared` only with `share_ignored`: what a backend says is for one caller is then for all. `methods`
    are those whose responses are stored, `key` says what is part of their keys, and `only_if` which of them are stored.
    `invalidate_own`: which responses invalidate what their caller has stored, in scope user. `bypass_query`: parameters
    of the query with which a request bypasses the cache.
    Raises ValueError, naming the field.
    """

    ttl: float = 300.0
    scope: Scope = Scope.USER
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 300.0
    tags: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    override: bool = False
    credentials: tuple[str, ...] | None = None
    ignore: tuple[Ignorable, ...] = ()
    share_ignored: bool = False
    methods: tuple[str, ...] = ("GET", "HEAD")
    key: KeyPolicy = KeyPolicy()
    only_if: ResponseCondition | None = None
    cookies: tuple[str, ...] | None = None
    ignore_vary: tuple[str, ...] = ()
    invalidate_own: OwnInvalidation | None = None
    bypass_query: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("ttl", "stale_while_revalidate", "stale_if_error"):
            if not 0 <= getattr(self, field) <= 31_536_000:
                raise ValueError(f"{field} must be from 0 to 1 year")
        if both := sorted(set(self.ignore_vary).intersection(self.vary)):
            raise ValueError(f"ignore_vary lists {', '.join(both)}, and so does vary")
        setting, listed = ("ignore", self.ignore) if self.ignore else ("ignore_vary", self.ignore_vary)
        if listed and self.scope is Scope.SHARED and not self.share_ignored:
            raise ValueError(
                f"{setting} lists {', '.join(listed)}, and scope is shared: a response that its backend keeps from "
                "shared caches would be sent to all callers; use scope: user or tenant (RFC 9111 section 5.2.2.7), or "
                "share_ignored: true if it is meant"
            )
        named = {name for tag in self.tags for name in names_in(tag)}
        for name, scopes in CALLER_FIELDS.items():
            if name in named and self.scope not in scopes:
                raise ValueError(
                    f"tags may not hold {{{name}}} in scope {self.scope}: it would be that of the first caller"
                )
        self._check_methods()
        self._check_placeholders(named)

    @property
    def body_tags(self) -> tuple[str, ...]:
        """The fields of a request's content that tags name."""
        return named_in(self.tags, BODY_PLACEHOLDER)

    def _check_methods(self) -> None:
        if not self.methods or not set(self.methods) <= set(CACHEABLE_METHODS):
            raise ValueError(f"methods must be some of {', '.join(CACHEABLE_METHODS)}; 'cache: off' stores none")
        if "HEAD" in self.methods and "GET" not in self.methods:
            raise ValueError("methods has HEAD without GET, whose responses answer it: nothing would be stored")
        if self.key.body is not None and "POST" not in self.methods:
            raise ValueError("key has fields of a body, and methods has no POST: add it, or leave body out")

    def _check_placeholders(self, named: Iterable[str]) -> None:
        """A tag is that of the first request with a key, so what it names must be part of the key."""
        for name in named:
            kind, _, field = name.partition(".")
            if kind == "body" and field:
                if "POST" not in self.methods:
                    raise ValueError(f"tags hold {{{name}}}, and methods has no POST")
                if self.key.body is not None and field not in self.key.body:
                    raise ValueError(
                        f"tags hold {{{name}}}, which is not in key.body: it would be of the first request"
                    )
            if kind == "query" and field in self.key.query.ignore:
                raise ValueError(f"tags hold {{{name}}}, which key.query ignores: it would be of the first request")


def named_in(tags: Iterable[str], prefix: str) -> tuple[str, ...]:
    """The names after `prefix` in the placeholders of tags, each once."""
    names = [name.removeprefix(prefix) for tag in tags for name in names_in(tag) if name.startswith(prefix)]
    return tuple(dict.fromkeys(names))
