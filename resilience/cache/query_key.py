"""The part of a cache key that stands for a query: pure functions."""

from collections.abc import Collection, Iterator
from urllib.parse import unquote_to_bytes

from resilience.cache.parameter_names import loose_name
from resilience.cache.policy import QueryPolicy

MAX_PARAMETERS = 1_000
"""Parameters of a query that is normalised; one with more is compared as it is."""


def query_key(query: bytes, policy: QueryPolicy) -> bytes:
    """The query without ignored parameters, and in order of their names if the policy says so.

    Parameters that a backend may take for one keep their order, since it may be the first or the last that counts. A
    query with `;`, by which some backends separate parameters, is returned as it is.
    """
    if not query or b";" in query or query.count(b"&") >= MAX_PARAMETERS:
        return query
    kept = [(name, part) for name, part in _parameters(query) if name not in policy.ignore]
    if policy.sort:
        kept.sort(key=lambda pair: loose_name(pair[0]))
    return b"&".join([part for _, part in kept])


def has_parameter(query: bytes, names: Collection[str]) -> bool:
    """Whether the query has any of these parameters, with `&` or `;` between them."""
    return bool(query) and any(name in names for name, _ in _parameters(query.replace(b";", b"&")))


def query_values(query: bytes, names: Collection[str]) -> dict[str, list[str]]:
    """The values of these parameters, decoded, in order and without repetition."""
    found: dict[str, list[str]] = {}
    for name, part in _parameters(query):
        value = _decoded(part.partition(b"=")[2])
        if name in names and value and value not in found.setdefault(name, []):
            found[name].append(value)
    return found


def _parameters(query: bytes) -> Iterator[tuple[str, bytes]]:
    """Each parameter with its decoded name."""
    for part in query.split(b"&"):
        yield _decoded(part.partition(b"=")[0]), part


def _decoded(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "backslashreplace")
