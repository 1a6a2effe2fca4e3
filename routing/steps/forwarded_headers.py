"""The header fields sent to backends: the client's end-to-end fields, the service's, and the gateway's own."""

from math import inf
from typing import Final
from urllib.parse import quote

from routing.authentication.authenticator import carries_key
from routing.authentication.identity_signer import IdentitySigner, tenant_of
from routing.backend.encoding import encode_headers, encode_trusted_headers
from routing.caller import Caller
from routing.exchange import Exchange
from routing.http import Header, Headers
from routing.messages import forwarding
from routing.messages.conditions import decodable_only
from routing.messages.identifiers import new_traceparent
from routing.messages.via import via
from routing.router.gateway_cookies import GatewayCookies
from routing.router.identity_policy import IdentityField, IdentityPolicy
from routing.router.memoised_headers import ForwardedHeaders

TRACEPARENT: Final = b"traceparent"


class ForwardedHeaderFields:
    """Most clients send the same fields with every request: what follows from those is computed once.

    `cookies` are the gateway's own, which no backend sees. `signer` signs who callers are.
    """

    def __init__(self, cookies: GatewayCookies, signer: IdentitySigner | None = None) -> None:
        self._cookies = cookies
        self._signer = signer or IdentitySigner()

    def all(self, exchange: Exchange) -> Headers:
        forwarded, own = self._parts(exchange)
        return [*forwarded.headers, *own]

    def encoded(self, exchange: Exchange) -> bytes:
        """The same as bytes for the wire."""
        forwarded, own = self._parts(exchange)
        return forwarded.encoded + encode_trusted_headers(own)

    def _parts(self, exchange: Exchange) -> tuple[ForwardedHeaders, Headers]:
        """The fields that are the same each time, and those that are not."""
        trace = exchange.step_log.trace if exchange.step_log is not None else None
        forwarded = self._memoised(exchange, traced=trace is not None)
        own = [(b"x-request-id", exchange.id.encode())]
        if exchange.used_credential is not None:
            own.append(exchange.used_credential.field)
        if trace is not None:
            own.append((TRACEPARENT, trace.traceparent))
        elif not forwarded.continues_trace:
            own.append((TRACEPARENT, new_traceparent()))
        return forwarded, own

    def _memoised(self, exchange: Exchange, *, traced: bool) -> ForwardedHeaders:
        request, slot, grant = exchange.request, exchange.cache_slot, exchange.caller_slot.grant
        source = request.headers if slot is None or slot.headers is None else slot.headers
        last = grant.forwarded
        if (
            last is None
            or last.source != source
            or (last.client, last.scheme) != (request.client, request.scheme)
            or last.until <= exchange.received_at
        ):
            policy = exchange.match.policy
            identity, until = self._identity(exchange, policy.identity)
            headers = forwarding.to_backend(
                decodable_only(source) if policy.judges_bodies else source,
                [*_gateway_fields(exchange), *identity, *policy.headers],
                self._cookies.at(exchange.prefix, request.fields.get(b"host", b"")),
                keep_credential=policy.forward_authorization and not carries_key(source),
                traced=traced,
                replaced=None if policy.credential is None else policy.credential.header.encode(),
            )
            continues = forwarding.continues_trace(source)
            last = ForwardedHeaders(
                source, request.client, request.scheme, headers, encode_headers(headers), continues, until
            )
            grant.remember(last)
        return last

    def _identity(self, exchange: Exchange, policy: IdentityPolicy | None) -> tuple[list[Header], float]:
        """What the route sends of its caller, and until when. Raises ServiceMisconfigured without a key."""
        caller = exchange.caller
        if policy is None or caller is None:
            return [], inf
        fields = [
            (f"x-gateway-{name}".encode(), value) for name in policy.fields if (value := _identity_value(caller, name))
        ]
        if policy.audience is None:
            return fields, inf
        now = exchange.received_at
        token = self._signer.token(caller, audience=policy.audience, issuer=policy.issuer, now=now, seconds=policy.ttl)
        return [*fields, (policy.header.encode(), token)], now + policy.ttl / 2


def _identity_value(caller: Caller, name: IdentityField) -> bytes:
    """Percent-encoded; scopes are separated by spaces."""
    if name is IdentityField.SCOPES:
        return b" ".join(quote(scope, safe="!$&'()*+,/:;=?@[]").encode() for scope in sorted(caller.scopes or ()))
    found = tenant_of(caller) if name is IdentityField.TENANT else caller.identity.email if caller.identity else None
    return quote(found or "", safe=":@+", errors="replace").encode()


def _gateway_fields(exchange: Exchange) -> list[Header]:
    """The fields the gateway sets itself, as far as they are the same for repeated requests."""
    request = exchange.request
    fields = [
        (b"x-forwarded-for", request.client.encode()),
        *forwarding.origin_fields(request),
        forwarding.port_field(request),
        (b"via", via(request.headers)),
    ]
    if exchange.prefix:
        fields.append((b"x-forwarded-prefix", exchange.prefix))
    if exchange.caller:
        fields.append((b"x-gateway-caller", quote(exchange.caller.id, safe=":@+").encode()))
    return fields
