"""Memoised request resolution: route, credential and permissions of repeated requests.

Most requests repeat an earlier target, or at least another target of a known caller. Whatever follows from method,
target, host, credential and configuration alone is computed once and kept here; steps 2 to 5 read it.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any, Final

import msgspec

from resilience.memo import TwoGenerationMemo
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.authenticator import Credential, read_credential
from routing.caller import Caller
from routing.errors import Forbidden, GatewayError, ServiceDisabled, Unauthenticated, UnknownService
from routing.http import Headers, Request, SharedFields
from routing.messages import validation
from routing.messages.cors import Cors
from routing.router import paths
from routing.router.live import LiveConfiguration
from routing.router.memoised_headers import ForwardedHeaders, HitHeaders
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import Match, RouteTable

REMEMBERED: Final = 4_096
"""Resolutions, and credential states, in each of two generations."""
POLICIES: Final = 64
"""Grants kept for one credential, each under another policy."""
LONGEST: Final = 2_048
"""Bytes of the longest memo key; bounds the memory of all."""
REVERIFY_SECONDS: Final = 1.0
"""How long a verified caller is trusted before re-verification."""

_Identity = tuple[str, bytes, bytes, str, bytes | None, bytes | None, bytes | None, bytes | None]
Steps = tuple[Callable[[Any], Any], ...]
"""Of an Exchange, which is defined above this package: see routing/pipeline.py."""


class Quota(msgspec.Struct, frozen=True, gc=False):
    """A rate limit, and the key under which a request counts towards it.

    `subject` is whose requests are counted: a caller's id or a client's address.
    """

    policy: RatePolicy
    key: str
    subject: str


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
    """

    __slots__ = ("_grants", "caller", "credential", "parse_error", "verified_until")

    def __init__(self, headers: Headers) -> None:
        self.credential: Credential | None = None
        self.parse_error: GatewayError | None = None
        self.caller: Caller | None = None
        self.verified_until = 0.0
        self._grants: dict[tuple[str, int], Grant] = {}
        try:
            self.credential = read_credential(headers)
        except Unauthenticated as error:
            self.parse_error = error

    def grant(self, match: Match, caller: Caller | None) -> Grant:
        name, policy = match.service.name, match.policy
        key = name, id(policy)  # services may share a policy
        grant = self._grants.get(key)
        if grant is None or grant.caller is not caller or grant.policy is not policy:
            if len(self._grants) >= POLICIES:
                self._grants.clear()
            grant = self._grants[key] = Grant(caller, policy, authorize(name, policy, caller))
        return grant


class CallerSlot:
    """Per-caller state of a resolution. `cache_key` is empty until the first lookup."""

    __slots__ = ("cache_key", "caller", "grant", "hit_headers")

    def __init__(self, caller: Caller | None, grant: Grant) -> None:
        self.caller = caller
        self.grant = grant
        self.cache_key = ""
        self.hit_headers: HitHeaders | None = None


class Resolution:
    """`routing_error` is raised by step 4 where no route was found. `steps` are those this request takes; `cors` is the
    policy of its responses, None without one.
    """

    __slots__ = (
        "_slot",
        "auth",
        "cors",
        "credential_state",
        "is_index",
        "match",
        "path",
        "prefix",
        "routing_error",
        "steps",
    )

    def __init__(self, credential_state: CredentialState) -> None:
        self.credential_state = credential_state
        self.path = ""
        self.prefix = b""
        self.is_index = False
        self.match: Match | None = None
        self.routing_error: GatewayError | None = None
        self.auth = Auth.REQUIRED  # where no service is found, so that names cannot be probed
        self.steps: Steps = ()
        self.cors: Cors | None = None
        self._slot: CallerSlot | None = None

    @classmethod
    def resolve(cls, request: Request, table: RouteTable, state: CredentialState | None = None) -> "Resolution":
        """Raises BadRequest, HeadersTooLarge or TargetTooLong for a malformed request."""
        validation.validate_fields(request)
        return cls.resolve_target(request, table, state or CredentialState(request.headers))

    @classmethod
    def resolve_target(cls, request: Request, table: RouteTable, state: CredentialState) -> "Resolution":
        """The same for a request whose header fields have been validated."""
        validation.validate_target(request)
        resolution = cls(state)
        resolution.path = request.path.decode("latin-1")
        resolution._match_route(request, table)
        return resolution

    def caller_slot(self, caller: Caller | None) -> CallerSlot:
        slot = self._slot
        if slot is None or slot.caller is not caller:
            match = self.match
            grant = self.credential_state.grant(match, caller) if match else Grant(caller, None, self.routing_error)
            slot = self._slot = CallerSlot(caller, grant)
        return slot

    def _match_route(self, request: Request, table: RouteTable) -> None:
        try:
            service = table.by_host(host(request)) if table.has_hosts else None
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
            self.routing_error = error
        if self.match is not None:
            self.auth = self.match.policy.auth


UNRESOLVED: Final = Resolution(CredentialState([]))
"""Until a request has been resolved."""


class ResolutionCache:
    """One process's resolutions, all forgotten when the configuration or the keys change.

    `compile_steps` makes a resolution's list of steps, given the request's method.
    """

    def __init__(
        self,
        live: LiveConfiguration,
        compile_steps: Callable[[Resolution, str], Steps] = lambda _resolution, _method: (),
    ) -> None:
        self._live = live
        self._compile = compile_steps
        self._table, self._keys = live.table, live.keys
        self._known: TwoGenerationMemo[_Identity, Resolution] = TwoGenerationMemo(REMEMBERED)
        self._credentials: TwoGenerationMemo[tuple[bytes | None, bytes | None], CredentialState] = TwoGenerationMemo(
            REMEMBERED
        )
        self._epoch = object()

    def of(self, request: Request) -> Resolution:
        """The resolution of a well-formed request. Raises BadRequest, HeadersTooLarge or TargetTooLong."""
        live, head = self._live, request.shared_head
        if self._table is not live.table or self._keys is not live.keys:
            self._table, self._keys = live.table, live.keys
            self._known.clear()
            self._credentials.clear()
            self._epoch = object()
        if head is None or request.caller is not None:
            return self._by_identity(request)
        if head.epoch is not self._epoch:
            head.resolution, head.epoch = self._by_fields(request, head.shared_fields), self._epoch
        resolution: Resolution = head.resolution
        return resolution

    def _by_fields(self, request: Request, shared: SharedFields) -> Resolution:
        """Without validating the header fields again, where a request with the same ones was well formed."""
        if shared.epoch is self._epoch:
            resolution = Resolution.resolve_target(request, self._table, shared.credential_state)
            resolution.steps = self._compile(resolution, request.method)
            return resolution
        resolution = self._by_identity(request)
        shared.credential_state, shared.epoch = resolution.credential_state, self._epoch
        return resolution

    def _by_identity(self, request: Request) -> Resolution:
        fields = request.fields
        if len(fields) != len(request.headers) or request.caller is not None or b"transfer-encoding" in fields:
            return self._resolve(request, None)  # depends on more than the memo's key
        identity = (
            request.method,
            request.path,
            request.query,
            request.version,
            fields.get(b"host"),
            fields.get(b"authorization"),
            fields.get(b"x-api-key"),
            fields.get(b"cookie"),
        )
        resolution = self._known.get(identity)
        if resolution is not None:
            validation.validate_size(request.headers)
            return resolution
        resolution = self._resolve(request, self._credential_state(fields, request.headers))
        if sum([len(part) for part in identity if part]) <= LONGEST:
            self._known.put(identity, resolution)
        return resolution

    def _resolve(self, request: Request, credential_state: CredentialState | None) -> Resolution:
        resolution = Resolution.resolve(request, self._live.table, credential_state)
        resolution.steps = self._compile(resolution, request.method)
        return resolution

    def _credential_state(self, fields: dict[bytes, bytes], headers: Headers) -> CredentialState:
        """Of a request that repeats no header field."""
        sent = fields.get(b"authorization"), fields.get(b"x-api-key")
        state = self._credentials.get(sent)
        if state is None:
            state = CredentialState(headers)
            if sum([len(part) for part in sent if part]) <= LONGEST:
                self._credentials.put(sent, state)
        return state


def authorize(name: str, policy: RoutePolicy, caller: Caller | None) -> GatewayError | None:
    """The error if this caller may not use the service now (contract section 3, step 4), else None."""
    if caller is not None and not caller.may_use(name, policy.scopes):
        return Forbidden("the credential's scopes do not cover this service", service=name)
    if caller is None and policy.scopes:
        return Unauthenticated("this service requires scopes", service=name)
    if not policy.enabled:
        return ServiceDisabled("an operator has disabled this service", service=name)
    return None


def host(request: Request) -> str:
    """The host a request names, in lower case, with its port if it has one."""
    return request.fields.get(b"host", b"").decode("latin-1").lower()
