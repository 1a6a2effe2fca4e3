"""Substitution of the placeholders in a route's tags: path parameters, and fields of the caller."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from itertools import islice, product
from typing import Final
from urllib.parse import quote

from resilience.cache import policy
from resilience.cache.fields import MAX_TAGS
from resilience.cache.policy import BODY_PLACEHOLDER, QUERY_PLACEHOLDER
from resilience.cache.query_key import query_values
from routing.caller import Caller
from routing.router.table import Match

PARAMETER: Final = re.compile(r"\{([^{}]*?)(?:\|lower)?\}")
ANONYMOUS: Final = "anonymous"
"""The caller of a request without a credential. No caller's id equals it, since those contain a colon."""
NO_CONTENT: Final[Mapping[str, str]] = {}
MAX_COMBINED: Final = MAX_TAGS + 1
"""Tags that one pattern becomes, where parameters of a query occur several times: with more than MAX_TAGS, the response
is not stored.
"""
_MESSAGE_FIELDS: Final = (BODY_PLACEHOLDER, QUERY_PLACEHOLDER)
LONGEST: Final = 128
"""Longest field of a caller in a tag, in characters; a longer one is replaced by its digest."""


def filled(
    tags: Iterable[str],
    match: Match,
    caller: Caller | None,
    query: bytes = b"",
    content: Mapping[str, str] = NO_CONTENT,
) -> tuple[str, ...]:
    """Tags with each `{name}` replaced by that path parameter, and `{caller}` and `{tenant}` by the caller's fields;
    `{query.name}` by that parameter of the query, once for each value, and `{body.name}` by that field of `content`. A
    tag with one of these two that has no value is left out. `{name|lower}` is the value in lower case.

    The configuration allows no path parameters of these two names. A tag that becomes the service's own name is left
    out: invalidating it would invalidate the whole service.
    """
    patterns = tuple(tags)
    if not any("{" in pattern for pattern in patterns):
        return patterns
    params, service = (*match.params, *fields(caller).items()), match.service.name
    found = []
    for pattern in patterns:
        for extra in _message_values(pattern, query, content):
            (tag,) = policy.fill_tags((pattern,), (*params, *extra))
            if tag == pattern or tag != service:
                found.append(tag)
    return tuple(found)


def _message_values(pattern: str, query: bytes, content: Mapping[str, str]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Each combination of values for a tag's fields of the request, up to MAX_COMBINED."""
    names = [name for name in policy.names_in(pattern) if name.startswith(_MESSAGE_FIELDS)]
    if not names:
        yield ()
        return
    parameters = query_values(query, [name.removeprefix(QUERY_PLACEHOLDER) for name in names])
    choices = []
    for name in dict.fromkeys(names):
        kind, _, field = name.partition(".")
        values = parameters.get(field, []) if kind == "query" else [content[field]] if field in content else []
        choices.append([(name, value) for value in values])
    yield from islice(product(*choices), MAX_COMBINED)


def parameter_values(pattern: str, tag: str) -> list[tuple[str, str]] | None:
    """The names and values of the parameters with which `pattern` becomes `tag`; None if it cannot.

    A parameter is at least one character, and in lower case where the pattern says so. Where several assignments are
    possible, a parameter is listed with its value in the first and in the last of them. Takes linear time for each
    literal part of the pattern.
    """
    names, literals = _split(pattern)
    if len(names) > len(tag) or not (tag.startswith(literals[0]) and tag.endswith(literals[-1])):
        return None
    first, last = _from_left(literals, tag), _from_right(literals, tag)
    if first is None or last is None:
        return None
    pairs = list(zip(names, first, strict=True))
    if policy.LOWER in pattern and policy.fill_tags((pattern,), pairs) != (tag,):
        return None
    return pairs if first == last else pairs + list(zip(names, last, strict=True))


@lru_cache(maxsize=10_000)
def _split(pattern: str) -> tuple[list[str], list[str]]:
    """A pattern's parameters, and the literal parts around them: one more."""
    parts = PARAMETER.split(pattern)
    return parts[1::2], parts[::2]


def _from_left(literals: list[str], tag: str) -> list[str] | None:
    """Each value as short as possible, except the last."""
    values, start, end = list[str](), len(literals[0]), len(tag) - len(literals[-1])
    for literal in literals[1:-1]:
        found = tag.find(literal, start + 1, end)
        if found < 0:
            return None
        values.append(tag[start:found])
        start = found + len(literal)
    return [*values, tag[start:end]] if start < end else None


def _from_right(literals: list[str], tag: str) -> list[str] | None:
    """Each value as short as possible, except the first."""
    values, start, end = list[str](), len(literals[0]), len(tag) - len(literals[-1])
    for literal in literals[-2:0:-1]:
        found = tag.rfind(literal, start, end - 1)
        if found < 0:
            return None
        values.append(tag[found + len(literal) : end])
        end = found
    return [tag[start:end], *reversed(values)] if start < end else None


def own_tags(tags: Iterable[str], caller: Caller) -> tuple[str, ...]:
    """The tags by which what one caller has stored is invalidated, and nothing of others: a caller in a tag has no
    slash, so that what comes before the first one is this caller.
    """
    prefix = f"own:{fields(caller)['caller']}/"
    return tuple(prefix + tag for tag in tags)


def fields(caller: Caller | None) -> dict[str, str]:
    """The caller's fields as used in tags. A caller without a tenant has its id as tenant, as in `scope: tenant`."""
    own = _encoded(caller.id, safe=":@+") if caller else ANONYMOUS
    return {"caller": own, "tenant": _encoded(caller.tenant, safe="@+") if caller and caller.tenant else own}


def _encoded(value: str, safe: str) -> str:
    """Encoded as in X-Gateway-Caller, so that a backend can use the same tag. It contains no list separator, and a
    tenant no colon: it can be mistaken neither for a caller nor for two parts of a tag.
    """
    encoded = quote(value, safe=safe, errors="surrogatepass")
    if len(encoded) <= LONGEST:
        return encoded
    return "~" + blake2b(value.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
