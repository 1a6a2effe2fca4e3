"""A request's place in the cache: whose answer it is, under which key, with which tags."""

from hashlib import blake2b
from typing import Final

from resilience.cache.driver import StoreTarget
from resilience.cache.heat import ReplayableRequest
from resilience.cache.invalidation import uri_tag
from resilience.cache.key import key as digest_of
from resilience.cache.key import scope_id
from resilience.cache.policy import CachePolicy, Scope
from routing.exchange import Exchange
from routing.http import Request
from routing.messages import forwarding
from routing.router.tags import ANONYMOUS, filled

_UNTOLD: Final = frozenset({b"cookie", b"range", b"if-range"})
_CHOOSING: Final = frozenset({b"accept", b"accept-encoding", b"accept-language"})
"""Fields that answers are commonly chosen by, and that say nothing of anybody."""
LONGEST_RECIPE: Final = 1_024
"""Bytes of a path and query above which a request is not written down to be repeated."""


class Places:
    """`own_cookies` are the gateway's, which no backend sees and no answer depends on."""

    def __init__(self, own_cookies: frozenset[bytes]) -> None:
        self._own_cookies = own_cookies

    def key(self, exchange: Exchange, policy: CachePolicy) -> str:
        """The prefix is part of it, since references in the stored answer are written for it."""
        caller, request, match = exchange.caller, exchange.request, exchange.match
        whose = scope_id(policy.scope, caller.id if caller else ANONYMOUS, caller.tenant if caller else None)
        said = b"" if policy.scope is Scope.SHARED else self._said(exchange)
        return digest_of(exchange.service, whose, exchange.prefix + match.path, request.query, said)

    def _said(self, exchange: Exchange) -> bytes:
        """A digest of what the backend is given in the caller's name beside the caller's id: it may answer by it."""
        digest, forwards = None, exchange.match.policy.forward_authorization
        for name, value in exchange.request.headers:
            if name == b"cookie" or (forwards and name == b"authorization"):
                kept = forwarding.without_cookies(value, self._own_cookies)
                if kept:
                    digest = digest or blake2b(digest_size=20)
                    digest.update(b"%s:%d:%s" % (name, len(kept), kept))
        return digest.digest() if digest else b""


def recipe(exchange: Exchange) -> ReplayableRequest | None:
    """How to ask for this again; None where the answer may depend on what is not to be written down."""
    request, caller = exchange.request, exchange.caller
    policy = exchange.match.policy
    if policy.cache is None or policy.forward_authorization or _says_more(request):
        return None
    if len(request.path) + len(request.query) > LONGEST_RECIPE:
        return None
    chosen = tuple([pair for pair in request.headers if pair[0] in _CHOOSING])
    owner = caller if policy.cache.scope is not Scope.SHARED else None
    return ReplayableRequest(
        host=request.fields.get(b"host") or b"localhost",
        path=request.path,
        query=request.query,
        headers=chosen,
        caller=owner.id if owner else None,
        tenant=owner.tenant if owner else None,
    )


def _says_more(request: Request) -> bool:
    """Whether it has what is not to be written down. An empty field says nothing."""
    if _UNTOLD.isdisjoint(request.fields):
        return False
    return any(value for name, value in request.headers if name in _UNTOLD)


def spot(exchange: Exchange, policy: CachePolicy, key: str) -> StoreTarget:
    """With the route's tags, filled in, and the URI's: what is changed there is taken back whoever asked for it."""
    match = exchange.match
    tags = (*filled(policy.tags, match, exchange.caller), uri_tag(match.path, exchange.request.query))
    return StoreTarget(exchange.service, key, policy, policy.scope, tags)
