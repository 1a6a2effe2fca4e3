"""Secrets in the queries of URLs: nothing masks them, so that whoever may view the configuration reads them. Pure."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

from routing.configuration.faults import Fault, Path
from routing.configuration.literals import is_secret

SHOWN_IN_QUERY: Final = (
    "the query has a secret ({}), which is stored and shown as it is: send it in a header field, in 'token_params', or "
    "as webhook:env:NAME"
)
_URLS: Final = frozenset(
    {"token_url", "authorize_url", "revoke_url", "jwks_uri", "url", "address", "path", "webhook", "to"}
)
"""Settings that are URLs or paths, or lists of recipients that may be."""
MAX_DEPTH: Final = 8
MAX_PARAMETERS: Final = 100


def url_secrets(value: Any, path: Path = ()) -> Iterator[Fault]:
    """A fault for each URL of a document that has a secret in its query."""
    if len(path) > MAX_DEPTH:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from url_secrets(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from url_secrets(item, (*path, index))
    elif isinstance(value, str) and "?" in value and not _URLS.isdisjoint(path[-2:]):
        names = [name for name, text in _parameters(value) if text and is_secret(name, text)]
        if names:
            yield Fault(path, SHOWN_IN_QUERY.format(", ".join(names)))


def _parameters(url: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(url.partition("?")[2], max_num_fields=MAX_PARAMETERS)
    except ValueError:
        return []
