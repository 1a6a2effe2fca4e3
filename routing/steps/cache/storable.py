"""Whether a response may be stored: RFC 9111's rules, and what only the gateway knows. Pure decisions."""

from typing import Final

from resilience.cache import fields, parts, storing
from resilience.cache.body_recorder import BODY_BYTES
from resilience.cache.messages import CacheRequest, CacheResponse, Skip, Storable
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.storing import UNWANTED
from routing.exchange import CacheSlot, Exchange
from routing.http import first
from routing.messages import forwarding
from routing.messages.outcome import OutcomeClass
from routing.steps.cache.cache_key import own_canary

CALLER: Final = b"x-gateway-caller"
"""A response may vary by the caller where the caller is part of its key."""
OF_ANOTHERS_CANARY: Final = Skip("a canary has responded in place of the caller's own targets")
OF_THIS_RESPONSE_ALONE: Final = (UNWANTED, OF_ANOTHERS_CANARY)
"""Verdicts on one response that say nothing about the next one, nor about what is stored."""


def storable(
    exchange: Exchange, slot: CacheSlot, response: CacheResponse, length: int, body: bytes | None
) -> Storable | Skip:
    """RFC 9111's verdict; Skip for a body that is too long, for a response that has a class, and for one selected by a
    field that the gateway sets: it would be found by the client's value of that field. `body` is all of it, if the
    policy's `only_if` needs it and it is known. A route's `shared` speaks of callers of the gateway, not of those whose
    credential only the backend has checked.
    """
    if exchange.call.outcome is not None:
        return Skip(f"the outcome is {exchange.call.outcome}")
    if _is_of_anothers_canary(exchange):
        return OF_ANOTHERS_CANARY
    unverified = passes_unverified(exchange)
    target = slot.target
    verdict = may_store(slot.request, response, target.policy, target.scope, unverified=unverified)
    if isinstance(verdict, Skip):
        return verdict
    if length > BODY_BYTES:
        return Skip("the body is too large")
    only_if = target.policy.only_if
    return verdict if only_if is None or only_if.matches(response.status, list(response.headers), body) else UNWANTED


def may_store(
    request: CacheRequest, response: CacheResponse, policy: CachePolicy, scope: Scope, *, unverified: bool
) -> Storable | Skip:
    """What does not depend on the body: of a new response, or of a stored one that a 304 has updated."""
    verdict = storing.may_store(request, response, policy, scope)
    if isinstance(verdict, Skip):
        return verdict
    known = {CALLER} if scope is Scope.USER else set()
    if any(forwarding.is_set_by_gateway(name) and name not in known for name in verdict.vary):
        return Skip("the response varies by a field that the gateway sets", "RFC 9111 section 4.1")
    if not fields.are_indexable(fields.tags(response.headers)):
        return Skip("the response has too many tags, or too long ones, to be invalidated by each")
    is_for_one = request.authenticated and scope is Scope.USER
    if not is_for_one and not fields.CREDENTIALS.isdisjoint([name for name, _ in verdict.headers]):
        return Skip("the response hands out a credential", "RFC 9111 section 7.3")
    if scope is Scope.SHARED and unverified and not storing.is_shareable(response):
        return Skip("the response is for one credential only", "RFC 9111 section 3.5")
    return verdict


def supersedes(
    slot: CacheSlot, response: CacheResponse, verdict: Skip, *, unverified: bool, outcome: OutcomeClass | None
) -> bool:
    """Whether this response, which is not stored, takes the place of the one that is, so that the older one must not be
    sent again: the resource is gone, say, or must not be stored any more.

    Not if it is a failure or about its request alone; nor, under a key of more than one caller, if it may be about the
    one who asked. `only_if` leaves what is stored, and so does a canary of others.
    """
    if slot.request.method != "GET" or verdict in OF_THIS_RESPONSE_ALONE or outcome not in (None, OutcomeClass.CALLERS):
        return False
    if response.status >= 500 or response.status in storing.REQUEST_STATUSES | storing.PARTIAL_STATUSES:
        return False
    is_about_caller = response.status in storing.CALLER_STATUSES or response.has_credential
    return slot.target.scope is Scope.USER or not (is_about_caller or unverified or outcome)


def is_storable_part(slot: CacheSlot, response: CacheResponse) -> bool:
    """Whether a 206 may be stored by the rules for the whole: it answers a plain request for a range, and others of its
    representation can be told from those of another one.
    """
    extent = parts.byte_range(response) if parts.may_use_part(slot.request) else None
    return extent is not None and extent.total <= BODY_BYTES


def passes_unverified(exchange: Exchange) -> bool:
    """Whether the backend gets a credential that the gateway has not verified."""
    is_verified = exchange.caller is not None and not exchange.resolution.credential_state.is_separate
    if is_verified or not exchange.match.policy.forward_authorization:
        return False
    return first(exchange.request.headers, b"authorization") is not None


def _is_of_anothers_canary(exchange: Exchange) -> bool:
    """Whether a canary has served a caller that is not one of its own, for want of other targets. Under the caller's
    key, its response would be sent to all others of the service.
    """
    target = exchange.call.target
    if target is None or not target.canary:
        return False
    return own_canary(exchange.match.service, exchange.caller, exchange.request) != target
