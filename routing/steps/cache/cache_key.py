"""The cache key and tags of a request, and how a request is recorded to be repeated for warming."""

from hashlib import blake2b
from typing import Final

from resilience.cache.driver import StoreTarget
from resilience.cache.hit_counter import ReplayableRequest
from resilience.cache.invalidation import uri_tag
from resilience.cache.key import key as digest_of
from resilience.cache.key import scope_id
from resilience.cache.policy import CachePolicy, Scope
from routing.exchange import Exchange
from routing.http import Request
from routing.messages import forwarding
from routing.router.tags import ANONYMOUS, filled

_NOT_RECORDED: Final = frozenset({b"cookie", b"range", b"if-range"})
_NEGOTIATION: Final = frozenset({b"accept", b"accept-encoding", b"accept-language"})
"""Fields that responses are commonly selected by, and that contain nothing personal."""
LONGEST_RECORDED: Final = 1_024
"""Bytes of the longest path and query that are recorded for warming."""


class CacheKeys:
    """`own_cookies` are the gateway's, which no backend sees and no response depends on."""

    def __init__(self, own_cookies: frozenset[bytes]) -> None:
        self._own_cookies = own_cookies

    def key(self, exchange: Exchange, policy: CachePolicy) -> str:
        """The gateway's path prefix is part of it, since references in a stored response are rewritten for it."""
        caller, request, match = exchange.caller, exchange.request, exchange.match
        scope = scope_id(policy.scope, caller.id if caller else ANONYMOUS, caller.tenant if caller else None)
        identity = b"" if policy.scope is Scope.SHARED else self._forwarded_identity(exchange)
        return digest_of(exchange.service, scope, exchange.prefix + match.path, request.query, identity)

    def _forwarded_identity(self, exchange: Exchange) -> bytes:
        """A digest of the cookies and credentials that the backend gets, since its response may depend on them."""
        digest, forwards = None, exchange.match.policy.forward_authorization
        for name, value in exchange.request.headers:
            if name == b"cookie" or (forwards and name == b"authorization"):
                kept = forwarding.strip_cookies(value, self._own_cookies)
                if kept:
                    digest = digest or blake2b(digest_size=20)
                    digest.update(b"%s:%d:%s" % (name, len(kept), kept))
        return digest.digest() if digest else b""


def store_target(exchange: Exchange, policy: CachePolicy, key: str) -> StoreTarget:
    """Where the response would be stored, with its route's tags filled in and its URI's tag: a write to the URI
    invalidates the entries of all callers.
    """
    match = exchange.match
    tags = (*filled(policy.tags, match, exchange.caller), uri_tag(match.path, exchange.request.query))
    return StoreTarget(exchange.service, key, policy, policy.scope, tags)


def replayable(exchange: Exchange) -> ReplayableRequest | None:
    """How to repeat this request; None where the response may depend on what must not be recorded."""
    request, caller = exchange.request, exchange.caller
    policy = exchange.match.policy
    if policy.cache is None or policy.forward_authorization or _is_private(request):
        return None
    if len(request.path) + len(request.query) > LONGEST_RECORDED:
        return None
    negotiation = tuple([pair for pair in request.headers if pair[0] in _NEGOTIATION])
    owner = caller if policy.cache.scope is not Scope.SHARED else None
    return ReplayableRequest(
        host=request.fields.get(b"host") or b"localhost",
        path=request.path,
        query=request.query,
        headers=negotiation,
        caller=owner.id if owner else None,
        tenant=owner.tenant if owner else None,
    )


def _is_private(request: Request) -> bool:
    """Whether a field must not be recorded. An empty one does not count."""
    if _NOT_RECORDED.isdisjoint(request.fields):
        return False
    return any(value for name, value in request.headers if name in _NOT_RECORDED)
