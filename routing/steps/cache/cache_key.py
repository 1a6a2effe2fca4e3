"""The cache key and tags of a request, and how a request is recorded to be repeated for warming."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from resilience.cache.driver import StoreTarget
from resilience.cache.hit_counter import ReplayableRequest
from resilience.cache.invalidation import uri_tag
from resilience.cache.key import key as digest_of
from resilience.cache.key import scope_id
from resilience.cache.policy import CachePolicy, QueryPolicy, Scope
from resilience.cache.query_key import query_key
from routing.authentication.identity_signer import caller_claims
from routing.balancing.rules import canary_of, canary_point
from routing.caller import Caller
from routing.credentials.subjects import credential_tag, subject_of
from routing.errors import Forbidden
from routing.exchange import Exchange
from routing.http import Header, Headers, Request
from routing.messages import forwarding
from routing.messages.own_cookies import OwnCookies
from routing.messages.selecting_fields import SELECTING_FIELDS
from routing.router.backend_identity import backend_identity
from routing.router.credential_policy import CredentialPolicy
from routing.router.gateway_cookies import GatewayCookies
from routing.router.identity_policy import IdentityField
from routing.router.policy import RoutePolicy, Target
from routing.router.table import Match, Service
from routing.router.tags import ANONYMOUS, NO_CONTENT, filled, own_tags

_NOT_RECORDED: Final = SELECTING_FIELDS | {b"cookie", b"range", b"if-range"}
_COOKIES: Final = frozenset({b"cookie"})
_CREDENTIALS: Final = frozenset({b"cookie", b"authorization"})
_NEGOTIATION: Final = frozenset({b"accept", b"accept-encoding", b"accept-language"})
"""Fields that responses are commonly selected by, and that contain nothing personal."""
LONGEST_RECORDED: Final = 1_024
"""Bytes of the longest path and query that are recorded for warming."""
_CLAIMS: Final = {IdentityField.TENANT: "tenant", IdentityField.SCOPES: "scope", IdentityField.EMAIL: "email"}
_BYTE_BY_BYTE: Final = QueryPolicy()
_OWN: Final = b"own"
MAX_BACKENDS: Final = 4_096
"""The most digests of configurations that are remembered, one for each route."""


class _Backend(NamedTuple):
    """What the keys of one service and policy depend on.

    `digest` is that of the configuration (see backend_identity). `credentials`: the fields that the policy names as
    part of the key. `query`: how queries are compared, None for byte by byte. `cookies`: the names of those that count,
    None for all, unless callers share responses. `read`: the fields that the key may depend on. `has_own`: whether a
    response of any of the service's routes invalidates what its caller has stored. `has_canaries`: whether some callers
    get another target's responses.
    """

    service: Service
    policy: RoutePolicy
    digest: bytes
    credentials: frozenset[bytes]
    query: QueryPolicy | None
    cookies: frozenset[bytes] | None
    read: frozenset[bytes]
    has_own: bool
    has_canaries: bool


class CacheKeys:
    """`cookies` are the gateway's own, which no backend sees and no response depends on. `secret` is the key of all
    digests of secrets, the same in all workers.
    """

    def __init__(self, cookies: GatewayCookies, secret: bytes = b"") -> None:
        self._cookies = cookies
        self._secret = secret
        self._backends: dict[int, _Backend] = {}

    def key(self, match: Match, caller: Caller | None, prefix: bytes, request: Request, content: bytes = b"") -> str:
        """The key of the response to a caller's GET of `match`, which must be of a route with a cache.

        `prefix` is the gateway's own part of the path. It is part of the key, since references in a stored response are
        rewritten for it. Of `request` only the query and the header fields count, and `content`, its content's key; if
        the service has canaries and there is no caller, the client's address too.
        """
        policy = match.policy.cache
        assert policy is not None  # noqa: S101 - a route without a cache has no keys
        backend = self._backend(match)
        return digest_of(
            match.service.name,
            scope_id(policy.scope, caller.id if caller else ANONYMOUS, caller.tenant if caller else None),
            prefix + match.path,
            request.query if backend.query is None else query_key(request.query, backend.query),
            origin=b"\n".join([value for _, value in forwarding.origin_fields(request)]),
            credentials=self._credentials(request, match.policy, backend, prefix)
            + self._identity(match.policy, caller),
            backend=backend.digest + _canary(match.service, caller, request)
            if backend.has_canaries
            else backend.digest,
            content=content,
        )

    def may_memoise(self, policy: CachePolicy, service: Service, caller: Caller | None) -> bool:
        """Whether the key follows from what a Resolution is memoised by, the caller, and the scheme."""
        if policy.credentials or policy.key.headers:
            return False
        return caller is not None or not _has_canaries(service)

    def _credentials(self, request: Request, policy: RoutePolicy, backend: _Backend, prefix: bytes) -> bytes:
        """A digest of the credentials that the backend gets, since its response may depend on them: cookies and
        Authorization, unless all callers share it, and the fields and cookies that the configuration names. A field
        with underscores for hyphens counts, since some backends read it, and is another one, since others do not.
        """
        sent = request.fields
        if backend.read.isdisjoint(sent) and b"_" not in b"".join(sent):
            return b""
        is_shared = policy.cache is not None and policy.cache.scope is Scope.SHARED
        named, digest = backend.credentials, None
        if backend.cookies:
            named |= {b"cookie"}
        own = self._cookies.at(prefix, sent.get(b"host", b""))
        for name, value in _forwarded(forwarding.end_to_end(request), own, backend.cookies):
            is_standard = name == b"cookie" or (policy.forward_authorization and name == b"authorization")
            if name.replace(b"_", b"-") in named or (is_standard and not is_shared):
                digest = digest or blake2b(digest_size=20, key=self._secret)
                digest.update(b"%d:%s%d:%s" % (len(name), name, len(value), value))
        return digest.digest() if digest else b""

    def _identity(self, route: RoutePolicy, caller: Caller | None) -> bytes:
        """A digest of what the backend is sent of the caller on this route, beside what the scope distinguishes."""
        policy = route.identity
        if policy is None or caller is None:
            return b""
        claims = caller_claims(caller)
        if policy.audience is None:
            names = {_CLAIMS[field] for field in policy.fields}
            claims = {name: value for name, value in claims.items() if name in names}
        return blake2b(msgspec.json.encode(claims, order="sorted"), digest_size=20, key=self._secret).digest()

    def _backend(self, match: Match) -> _Backend:
        """Computed once for each service and policy of a table."""
        service, policy = match.service, match.policy
        backend = self._backends.get(id(policy))
        if backend is None or backend.policy is not policy or backend.service is not service:
            if len(self._backends) >= MAX_BACKENDS:
                self._backends.clear()
            named, has_own = _named_fields(policy.cache), _invalidates_own(service)
            # What was stored before a response could invalidate it lacks the tags for that.
            digest = backend_identity(service, policy, self._secret) + (_OWN if has_own else b"")
            backend = self._backends[id(policy)] = _Backend(
                service,
                policy,
                digest,
                named,
                _query_policy(policy.cache),
                _cookie_names(policy.cache),
                named | (_CREDENTIALS if policy.forward_authorization else _COOKIES),
                has_own,
                _has_canaries(service),
            )
        return backend

    def store_target(self, exchange: Exchange, policy: CachePolicy, key: str) -> StoreTarget:
        """Where the response would be stored, with its route's tags filled in and its URI's tag: a write to the URI
        invalidates the entries of all callers, under every host and scheme.
        """
        match, query, content, caller = exchange.match, exchange.request.query, exchange.content, exchange.caller
        values = content.values if content is not None else NO_CONTENT
        named = filled(policy.tags, match, caller, query, values)
        tags = (*named, uri_tag(match.resource, query))
        normalized = _query_policy(policy) if query else None
        if normalized is not None and (stored := query_key(query, normalized)) != query:
            tags = (*tags, uri_tag(match.resource, stored))
        if match.policy.credential is not None:
            tags = (*tags, *_owner_tags(exchange, match.policy.credential))
        if named and caller is not None and policy.scope is Scope.USER and self._backend(match).has_own:
            tags = (*tags, *own_tags(named, caller))
        return StoreTarget(exchange.service, key, policy, policy.scope, tags)


def _invalidates_own(service: Service) -> bool:
    policies = (service.policy, *(route.policy for route in service.routes))
    return any(policy.cache is not None and policy.cache.invalidate_own is not None for policy in policies)


def _has_canaries(service: Service) -> bool:
    return any(target.canary for target in service.targets)


def own_canary(service: Service, caller: Caller | None, request: Request) -> Target | None:
    """The canary whose caller this is, if the service has one."""
    return canary_of(service.targets, canary_point(service.name, caller.id if caller else request.client))


def _canary(service: Service, caller: Caller | None, request: Request) -> bytes:
    """The canary whose caller this is: nobody else gets its responses. Empty for the callers of the other targets."""
    found = own_canary(service, caller, request)
    return found.url.encode() if found is not None and found.weight else b""


def _forwarded(headers: Headers, own: OwnCookies, cookies: frozenset[bytes] | None) -> Iterator[Header]:
    """Cookies without the gateway's own: only `cookies`, unless None."""
    for name, value in headers:
        if name == b"cookie":
            kept = own.strip(value)
            kept = kept if cookies is None else forwarding.selected_cookies(kept, cookies)
            if kept:
                yield name, kept
        else:
            yield name, value


def _query_policy(policy: CachePolicy | None) -> QueryPolicy | None:
    return None if policy is None or policy.key.query == _BYTE_BY_BYTE else policy.key.query


def _cookie_names(policy: CachePolicy | None) -> frozenset[bytes] | None:
    names = policy.cookies if policy else None
    return None if names is None else frozenset(name.encode() for name in names)


def _named_fields(policy: CachePolicy | None) -> frozenset[bytes]:
    """Those of the policy, and those that select a response, unless the policy has variants, or none, for them."""
    if policy is None:
        return SELECTING_FIELDS
    named, varied = (*(policy.credentials or ()), *policy.key.headers), {*policy.vary, *policy.ignore_vary}
    selecting = SELECTING_FIELDS.difference(name.lower().encode() for name in varied)
    return selecting.union(name.lower().replace("_", "-").encode() for name in named)


def query_spellings(service: Service, query: bytes) -> set[bytes]:
    """A query as sent, and as each route of the service normalizes it: a write invalidates what any of these stores."""
    if not query:
        return {query}
    policies = {_query_policy(policy.cache) for policy in (service.policy, *(route.policy for route in service.routes))}
    return {query, *(query_key(query, policy) for policy in policies if policy is not None)}


def _owner_tags(exchange: Exchange, credential: CredentialPolicy) -> tuple[str, ...]:
    """The tag of the account whose credential the call is made with: disconnecting it invalidates the response."""
    try:
        return (credential_tag(subject_of(credential, exchange.caller, exchange.service).id),)
    except Forbidden:
        return ()  # there will be no response


def replayable(exchange: Exchange) -> ReplayableRequest | None:
    """How to repeat this request; None where the response may depend on what must not be recorded."""
    request, caller = exchange.request, exchange.caller
    policy = exchange.match.policy
    if policy.cache is None or policy.forward_authorization or policy.cache.credentials or _is_private(request):
        return None
    if exchange.content is not None or policy.cache.key.headers or policy.identity is not None:
        return None
    if _has_canaries(exchange.match.service) and (caller is None or policy.cache.scope is Scope.SHARED):
        return None  # it would be repeated as somebody else, for whom it is stored
    if len(request.path) + len(request.query) > LONGEST_RECORDED:
        return None
    negotiation = tuple([pair for pair in forwarding.end_to_end(request) if pair[0] in _NEGOTIATION])
    owner = caller if policy.cache.scope is not Scope.SHARED else None
    return ReplayableRequest(
        host=request.fields.get(b"host") or b"localhost",
        path=request.path,
        query=request.query,
        headers=negotiation,
        caller=owner.id if owner else None,
        tenant=owner.tenant if owner else None,
        scheme=request.scheme,
    )


def _is_private(request: Request) -> bool:
    """Whether a field must not be recorded. An empty one does not count."""
    if _NOT_RECORDED.isdisjoint(request.fields):
        return False
    return any(value for name, value in request.headers if name in _NOT_RECORDED)
