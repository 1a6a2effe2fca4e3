"""Where a request goes if its service cannot answer it: the same request at the service's fallback. Pure functions."""

import msgspec

from routing.authentication.signatures.policy import DEFAULT_POLICY, SignaturePolicy
from routing.caller import Caller
from routing.consumers.subscription import Subscription
from routing.errors import BadRequest, Forbidden, GatewayError, MethodNotAllowed, Unauthenticated
from routing.router.access import authorize
from routing.router.policy import Auth
from routing.router.table import Match, RouteTable


def fallback_match(table: RouteTable, match: Match, method: str, caller: Caller | None) -> Match | GatewayError | None:
    """The match of the same request at the fallback service; the error if this caller may not send it there.

    None if the service has no other as its fallback, or one that does not exist. The rules of the fallback hold as if
    it were called itself: it never gives a caller more than a request to it would.
    """
    fallback = match.policy.fallback
    other = table.services.get(fallback.service) if fallback is not None and fallback.service else None
    if other is None or other.name == match.service.name:
        return None
    has_empty_query = match.path.endswith(b"?")  # appended by the resolution, as nothing else contains one
    try:
        found = table.within(other, method, match.path.removesuffix(b"?"))
    except (BadRequest, MethodNotAllowed) as error:
        return error
    if caller is None and found.policy.auth not in (Auth.OPTIONAL, Auth.NONE):
        return Unauthenticated("the fallback service requires a credential", service=other.name)
    denial = authorize(other, found.policy, caller) or _other_credential(match, found, caller)
    if denial is None and caller is not None and caller.subscription is not None:
        denial = _other_method(other.name, method, caller.subscription)
    if denial is not None:
        return denial
    return msgspec.structs.replace(found, path=found.path + b"?") if has_empty_query else found


def _other_method(service: str, method: str, subscription: Subscription) -> GatewayError | None:
    if subscription.allows(service, method):
        return None
    return Forbidden("the plan does not include this method of the fallback service", service=service)


def _other_credential(match: Match, found: Match, caller: Caller | None) -> GatewayError | None:
    """The error if the fallback requires a certificate or a signature, which is not how this caller was identified, or
    a signature by other rules than those that it was verified by.
    """
    auth = found.policy.auth
    if auth not in (Auth.CERTIFICATE, Auth.SIGNATURE):
        return None
    if caller is None or caller.kind != auth:
        return Unauthenticated(f"the fallback service requires a {auth}", service=found.service.name)
    if auth is Auth.SIGNATURE and _signature(found) != _signature(match):
        return Unauthenticated("the fallback service requires another signature", service=found.service.name)
    return None


def _signature(match: Match) -> SignaturePolicy:
    return match.policy.signature or DEFAULT_POLICY
