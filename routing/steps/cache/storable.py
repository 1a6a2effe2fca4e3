"""What may be stored, by what the gateway knows beside the rules of HTTP: pure decisions."""

from typing import Final

from resilience.cache import storing
from resilience.cache.driver import BODY_BYTES
from resilience.cache.messages import CacheResponse, Skip, Storable, response_directives
from resilience.cache.policy import Scope
from routing.exchange import CacheSlot, Exchange
from routing.http import first
from routing.messages import forwarding

CALLER: Final = b"x-gateway-caller"
"""By whom an answer may vary where its key says who it is for."""


def storable(slot: CacheSlot, response: CacheResponse, length: int, *, unverified: bool) -> Storable | Skip:
    """As the rules have it, but for what the gateway knows beside: a body's announced length, and that some fields
    are its own words to the backend. An answer chosen by those would be found by what the client says in them.
    `unverified`: it is to a credential that only the backend knows, and a route's `shared` was said of callers.
    """
    target = slot.target
    verdict = storing.may_store(slot.request, response, target.policy, target.scope)
    if isinstance(verdict, Skip):
        return verdict
    known = {CALLER} if target.scope is Scope.USER else set()
    if any(forwarding.is_set_by_gateway(name) and name not in known for name in verdict.vary):
        return Skip("the answer varies by what the gateway says", "RFC 9111 section 4.1")
    if target.scope is Scope.SHARED and unverified and not storing.is_shareable(response_directives(response)[0]):
        return Skip("the answer is one credential's own", "RFC 9111 section 3.5")
    return verdict if length <= BODY_BYTES else Skip("the body is too large")


def passes_unverified(exchange: Exchange) -> bool:
    """Does the backend get a credential that the gateway has not looked at?"""
    if exchange.caller is not None or not exchange.match.policy.forward_authorization:
        return False
    return first(exchange.request.headers, b"authorization") is not None
