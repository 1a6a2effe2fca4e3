"""What a write invalidates (RFC 9111 section 4.4), besides what its route names."""

from functools import partial
from typing import Final

from resilience.cache import invalidation
from routing.exchange import Exchange
from routing.http import Headers
from routing.router import spelling
from routing.router.table import Match
from routing.router.tags import filled
from routing.steps.cache.bypass import reads
from routing.steps.cache.cache_key import query_spellings

MAX_TAGS: Final = 250
"""Tags that one write invalidates, each with a call of the store."""


def tags_of_write(exchange: Exchange, status: int, headers: Headers) -> set[str]:
    """The tags that a successful write invalidates; empty for any other request. `headers` are as sent to the client.

    They are the route's `invalidates`, and those of the URIs and groups that the request and its response name; the
    service's own, which all of its entries have, instead of more than MAX_TAGS.
    """
    request, match = exchange.request, exchange.match
    is_success = exchange.call.outcome is None and invalidation.invalidates(request.method, status)
    if not is_success or reads(match.policy, request.method):
        return set()
    tags = set(filled(match.policy.invalidates, match, exchange.caller))
    if _has_cache(match):
        path, prefix = match.path.removesuffix(b"?"), exchange.public_address.url
        same = partial(spelling.normalized, policy=match.service.paths)
        queries = partial(query_spellings, match.service)
        tags |= invalidation.invalidated_tags(path, request.query, headers, prefix, same, spellings=queries)
    return tags if len(tags) <= MAX_TAGS else {match.service.name}


def _has_cache(match: Match) -> bool:
    """Whether responses of any route of this service may be stored."""
    service = match.service
    return service.policy.cache is not None or any(route.policy.cache is not None for route in service.routes)
