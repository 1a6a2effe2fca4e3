"""The cache key and tags of a request, and how a request is recorded to be repeated for warming."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from resilience.cache.driver import StoreTarget
from resilience.cache.hit_counter import ReplayableRequest
from resilience.cache.invalidation import uri_tag
from resilience.cache.key import key as digest_of
from resilience.cache.key import scope_id
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.store import Store, holds
from routing.caller import Caller
from routing.exchange import Exchange
from routing.http import Header, Headers, Request
from routing.messages import forwarding
from routing.router import paths
from routing.router.backend_identity import backend_identity
from routing.router.policy import RoutePolicy
from routing.router.table import Match, Service
from routing.router.tags import ANONYMOUS, filled

_NOT_RECORDED: Final = frozenset({b"cookie", b"range", b"if-range"})
_NEGOTIATION: Final = frozenset({b"accept", b"accept-encoding", b"accept-language"})
"""Fields that responses are commonly selected by, and that contain nothing personal."""
LONGEST_RECORDED: Final = 1_024
"""Bytes of the longest path and query that are recorded for warming."""
MAX_BACKENDS: Final = 4_096
"""Digests of configurations that are remembered, one for each route."""


class _Backend(NamedTuple):
    """Of one service and policy, and the credential fields that the policy names."""

    service: Service
    policy: RoutePolicy
    digest: bytes
    credentials: frozenset[bytes]


class CacheKeys:
    """`own_cookies` are the gateway's, which no backend sees and no response depends on. `secret` is the key of all
    digests of secrets, the same in all workers.
    """

    def __init__(self, own_cookies: frozenset[bytes], secret: bytes = b"") -> None:
        self._own_cookies = own_cookies
        self._secret = secret
        self._backends: dict[int, _Backend] = {}

    def key(self, match: Match, caller: Caller | None, prefix: bytes, request: Request) -> str:
        """The key of the response to a caller's GET of `match`, which must be of a route with a cache.

        `prefix` is the gateway's own part of the path. It is part of the key, since references in a stored response are
        rewritten for it. Of `request` only the query and the header fields count.
        """
        policy = match.policy.cache
        assert policy is not None  # noqa: S101 - a route without a cache has no keys
        backend = self._backend(match)
        return digest_of(
            match.service.name,
            scope_id(policy.scope, caller.id if caller else ANONYMOUS, caller.tenant if caller else None),
            prefix + match.path,
            request.query,
            origin=b"\n".join([value for _, value in forwarding.origin_fields(request)]),
            credentials=self._credentials(request, match.policy, backend.credentials),
            backend=backend.digest,
        )

    def may_memoise(self, policy: CachePolicy) -> bool:
        """Whether the key follows from what a Resolution is memoised by, and the scheme."""
        return not policy.credentials

    def _credentials(self, request: Request, policy: RoutePolicy, named: frozenset[bytes]) -> bytes:
        """A digest of the credentials that the backend gets, since its response may depend on them: cookies and
        Authorization, unless all callers share it, and the fields that the configuration names.
        """
        is_shared = policy.cache is not None and policy.cache.scope is Scope.SHARED
        digest = None
        for name, value in self._forwarded(forwarding.end_to_end(request)):
            is_standard = name == b"cookie" or (policy.forward_authorization and name == b"authorization")
            if name in named or (is_standard and not is_shared):
                digest = digest or blake2b(digest_size=20, key=self._secret)
                digest.update(b"%d:%s%d:%s" % (len(name), name, len(value), value))
        return digest.digest() if digest else b""

    def _forwarded(self, headers: Headers) -> Iterator[Header]:
        """Names as most backends read them, and cookies without the gateway's own."""
        for name, value in headers:
            if name == b"cookie":
                kept = forwarding.strip_cookies(value, self._own_cookies)
                if kept:
                    yield name, kept
            else:
                yield name.replace(b"_", b"-"), value

    def _backend(self, match: Match) -> _Backend:
        """Computed once for each service and policy of a table."""
        service, policy = match.service, match.policy
        backend = self._backends.get(id(policy))
        if backend is None or backend.policy is not policy or backend.service is not service:
            if len(self._backends) >= MAX_BACKENDS:
                self._backends.clear()
            backend = self._backends[id(policy)] = _Backend(
                service, policy, backend_identity(service, policy, self._secret), _credential_names(policy.cache)
            )
        return backend


def _credential_names(policy: CachePolicy | None) -> frozenset[bytes]:
    named = (policy.credentials if policy else None) or ()
    return frozenset(name.lower().replace("_", "-").encode() for name in named)


async def holds_response(store: Store, keys: CacheKeys, match: Match, caller: Caller, request: Request) -> bool:
    """Whether a response to this caller's GET of a service's path is stored."""
    name = match.service.name
    return await holds(store, name, keys.key(match, caller, paths.PREFIX + name.encode(), request))


def store_target(exchange: Exchange, policy: CachePolicy, key: str) -> StoreTarget:
    """Where the response would be stored, with its route's tags filled in and its URI's tag: a write to the URI
    invalidates the entries of all callers, under every host and scheme.
    """
    match = exchange.match
    tags = (*filled(policy.tags, match, exchange.caller), uri_tag(match.resource, exchange.request.query))
    return StoreTarget(exchange.service, key, policy, policy.scope, tags)


def replayable(exchange: Exchange) -> ReplayableRequest | None:
    """How to repeat this request; None where the response may depend on what must not be recorded."""
    request, caller = exchange.request, exchange.caller
    policy = exchange.match.policy
    if policy.cache is None or policy.forward_authorization or policy.cache.credentials or _is_private(request):
        return None
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
