"""Memoised request resolution: route, credential and permissions of repeated requests.

Most requests repeat an earlier target, or at least another target of a known caller. Whatever follows from method,
target, host, credential and configuration alone is computed once and kept here; steps 2 to 5 read it.
"""

from collections.abc import Callable
from copy import copy
from itertools import chain
from typing import Any, Final

import msgspec

from resilience.cache.driver import StoreTarget
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.authenticator import Credential, read_credential
from routing.caller import Caller
from routing.errors import (
    BadRequest,
    GatewayError,
    MethodNotAllowed,
    MisdirectedRequest,
    Unauthenticated,
    UnknownService,
)
from routing.http import Headers, Request
from routing.messages import validation
from routing.messages.cors import Cors
from routing.router import paths
from routing.router.access import authorize, configuration_unavailable
from routing.router.hosts import AllowedHosts, explain_refusal
from routing.router.memoised_headers import ForwardedHeaders, HitHeaders
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import Match, RouteTable, Service

_CREDENTIAL_FIELDS: Final = frozenset({b"authorization", b"x-api-key"})
_WITHOUT_KEYS: Final = frozenset({Auth.CERTIFICATE, Auth.SIGNATURE})
"""Requirements under which API keys and tokens do not identify callers."""
_WITHOUT_CREDENTIAL: Final = frozenset({Auth.NONE, Auth.OPTIONAL})
POLICIES: Final = 64
"""Grants kept for one credential, each under another policy."""
LONGEST: Final = 2_048
"""The longest memo key, in bytes: bounds the memory that all take."""
REVERIFY_SECONDS: Final = 1.0
"""How long a verified caller is trusted before re-verification."""

ANY_HOST: Final = AllowedHosts()
Steps = tuple[Callable[[Any], Any], ...]
"""Steps that take an Exchange, which is defined above this package: see routing/pipeline.py."""


class Quota(msgspec.Struct, frozen=True, gc=False):
    """A rate limit, and the key under which a request counts towards it.

    `subject` is whose requests are counted: a caller's id or a client's address. `name` is that of its RateLimit field,
    and of whose limit it is.
    """

    policy: RatePolicy
    key: str
    subject: str
    name: str = "default"


class Grant:
    """One caller under one policy. `denial` is the error that step 4 raises, if any.

    `quota` is set by the first request that counts by caller; `forwarded` by the last call to the backend.
    """

    __slots__ = ("caller", "denial", "forwarded", "policy", "quota")

    def __init__(self, caller: Caller | None, policy: RoutePolicy | None, denial: GatewayError | None) -> None:
        self.caller = caller
        self.policy = policy
        self.denial = denial
        self.quota: Quota | None = None
        self.forwarded: ForwardedHeaders | None = None

    def remember(self, forwarded: ForwardedHeaders) -> None:
        """Keep these header fields for the next call, unless they are long."""
        if sum(map(len, chain.from_iterable(forwarded.source))) <= LONGEST:
            self.forwarded = forwarded


class CredentialState:
    """One credential, or none: what all requests with it have in common.

    `parse_error` is raised by the step that needs the credential. `caller` is the credential's, as far as that is
    known without waiting, and is trusted until `verified_until` (Unix time).

    `is_separate`: X-API-Key is for the gateway and Authorization for the backend, on a route that forwards it. `base`
    is the state of the same fields on any other route.
    """

    __slots__ = ("_base", "_grants", "_ignored", "_separate", "caller", "credential", "parse_error", "verified_until")

    def __init__(self, headers: Headers, base: "CredentialState | None" = None) -> None:
        self.credential: Credential | None = None
        self.parse_error: GatewayError | None = None
        self.caller: Caller | None = None
        self.verified_until = 0.0
        self._grants: dict[tuple[str, int], Grant] = {}
        self._base = base
        self._separate: CredentialState | None = None
        self._ignored: CredentialState | None = None
        try:
            self.credential = read_credential(headers, is_separate=self.is_separate)
        except Unauthenticated as error:
            self.parse_error = error

    @property
    def is_separate(self) -> bool:
        return self._base is not None

    @property
    def base(self) -> "CredentialState":
        return self._base or self

    def separate(self, headers: Headers) -> "CredentialState":
        """The state where X-API-Key is the gateway's and Authorization the backend's."""
        self._separate = self._separate or CredentialState(headers, self)
        return self._separate

    def ignored(self) -> "CredentialState":
        """The state where neither identifies callers."""
        self._ignored = self._ignored or CredentialState([], self)
        return self._ignored

    def grant(self, match: Match, caller: Caller | None) -> Grant:
        name, policy = match.service.name, match.policy
        key = name, id(policy)  # services may share a policy
        grant = self._grants.get(key)
        if grant is None or grant.caller is not caller or grant.policy is not policy:
            if len(self._grants) >= POLICIES:
                self._grants.clear()
            grant = self._grants[key] = Grant(caller, policy, authorize(match.service, policy, caller))
        return grant


class CallerSlot:
    """Per-caller state of a resolution. `cache_key` is the last one, of a request with this `scheme`; empty until the
    first lookup, and where it depends on more than the resolution does. `store_target` is where the last response was
    to be stored.
    """

    __slots__ = ("cache_key", "caller", "grant", "hit_headers", "scheme", "store_target")

    def __init__(self, caller: Caller | None, grant: Grant) -> None:
        self.caller = caller
        self.grant = grant
        self.cache_key = ""
        self.scheme = ""
        self.hit_headers: HitHeaders | None = None
        self.store_target: StoreTarget | None = None


class Resolution:
    """`routing_error` is raised by step 4 where no route was found; `service` is known also where its paths or methods
    do not fit the request. `steps` are those this request takes; `cors` is the policy of its responses, None without
    one. `sandboxed`: they have the origin of staff's pages. `usage` is what the meter counts such requests in
    (routing/steps/metering.py).
    """

    __slots__ = (
        "_slot",
        "auth",
        "cors",
        "credential_state",
        "host",
        "is_index",
        "match",
        "path",
        "prefix",
        "routing_error",
        "sandboxed",
        "service",
        "steps",
        "usage",
    )

    def __init__(self, credential_state: CredentialState) -> None:
        self.credential_state = credential_state
        self.path = ""
        self.prefix = b""
        self.is_index = False
        self.match: Match | None = None
        self.service: Service | None = None
        self.routing_error: GatewayError | None = None
        self.auth = Auth.REQUIRED  # where no service is found, so that names cannot be probed
        self.steps: Steps = ()
        self.cors: Cors | None = None
        self.sandboxed = False
        self.host = ""
        self.usage: Any = None
        self._slot: CallerSlot | None = None

    @classmethod
    def resolve(
        cls,
        request: Request,
        table: RouteTable,
        state: CredentialState | None = None,
        allowed_hosts: AllowedHosts = ANY_HOST,
    ) -> "Resolution":
        """Raises BadRequest, HeadersTooLarge or TargetTooLong for a malformed request, and MisdirectedRequest for a
        host that is neither a service's nor allowed.
        """
        validation.validate_fields(request)
        return cls.resolve_target(request, table, state or CredentialState(request.headers), allowed_hosts)

    @classmethod
    def resolve_target(
        cls, request: Request, table: RouteTable, state: CredentialState, allowed_hosts: AllowedHosts = ANY_HOST
    ) -> "Resolution":
        """The same for a request whose header fields have been validated."""
        validation.validate_target(request)
        resolution = cls(state)
        resolution.path = request.path.decode("latin-1")
        if not table.is_loaded:
            # Neither keys nor services nor their hosts are known: neither credential nor host can be judged.
            resolution.routing_error, resolution.auth = configuration_unavailable(), Auth.NONE
            return resolution
        name = resolution.host = host(request)
        service = table.by_host(name) if table.has_hosts else None
        if service is None and not allowed_hosts.allows(name):
            raise MisdirectedRequest(explain_refusal(name))
        resolution._match_route(request, table, service)
        return resolution

    def rerouted(self, match: Match) -> "Resolution":
        """The same for another service's match: the public address, as the client sees it, stays."""
        resolution = copy(self)
        resolution.match, resolution.service, resolution._slot = match, match.service, None
        return resolution

    def caller_slot(self, caller: Caller | None) -> CallerSlot:
        slot = self._slot
        if slot is None or slot.caller is not caller:
            match = self.match
            grant = self.credential_state.grant(match, caller) if match else Grant(caller, None, self.routing_error)
            slot = self._slot = CallerSlot(caller, grant)
        return slot

    def _match_route(self, request: Request, table: RouteTable, service: Service | None) -> None:
        """`service` is the one that has the request's host."""
        try:
            if service is not None:
                self.match = table.within(service, request.method, request.path)
            elif paths.is_index(request.path):
                self.is_index = True
            elif (path := paths.split(request.path)) is not None:
                self.prefix = paths.PREFIX + path.service.encode("latin-1")
                self.match = table.match(path.service, request.method, path.rest)
            else:
                raise UnknownService("there is nothing at this path")
        except GatewayError as error:
            self._reject(error, request.path, table)
        if self.match is not None:
            self.service, self.auth = self.match.service, self.match.policy.auth
            if request.has_empty_query:  # it is sent on, and part of the cache key (RFC 3986 section 6.2.3)
                self.match = msgspec.structs.replace(self.match, path=self.match.path + b"?")
            self.credential_state = _state_for(self.match.policy, self.credential_state, request)

    def _reject(self, error: GatewayError, path: bytes, table: RouteTable) -> None:
        if isinstance(error, UnknownService) and b"//" in path:  # a service, for servers that merge slashes
            error = BadRequest("the path contains empty segments")
        self.routing_error = error.with_traceback(None)  # which refers to this resolution and its request
        service = self.service = table.services.get(error.service or "")
        if isinstance(error, BadRequest) and service is not None and service.policy.auth in _WITHOUT_CREDENTIAL:
            self.auth = service.policy.auth  # its callers need no credential
        elif isinstance(error, MethodNotAllowed):
            self.auth = Auth(error.auth)


def _state_for(policy: RoutePolicy, state: CredentialState, request: Request) -> CredentialState:
    """The credential, as far as it is the gateway's on this route."""
    if policy.auth in _WITHOUT_KEYS:
        return state.ignored()
    if policy.forward_authorization and request.fields.keys() >= _CREDENTIAL_FIELDS:
        return state.separate(request.headers)
    return state


UNRESOLVED: Final = Resolution(CredentialState([]))
"""The resolution of a request that has not been resolved yet."""


def host(request: Request) -> str:
    """The host a request names, in lower case, with its port if it has one."""
    return request.fields.get(b"host", b"").decode("latin-1").lower()
