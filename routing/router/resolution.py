"""What requests that are alike have in common, worked out once: their route, their credential, their caller's rights.

Most requests are like one that came before: the same target, or at least another of a caller that is known. All that
follows from those alone, and from the configuration, is remembered here, so that steps 2 to 5 find it ready.
"""

from itertools import chain
from typing import Final, NamedTuple

from resilience.cache.entry import Entry
from resilience.memo import TwoGenerationMemo
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.authenticator import Credential, credential
from routing.caller import Caller
from routing.errors import Forbidden, GatewayError, ServiceDisabled, Unauthenticated, UnknownService
from routing.http import Header, Headers, Request, SharedFields
from routing.messages import validation
from routing.router.live import LiveConfiguration
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import Match, RouteTable

PREFIX: Final = b"/api/v1/"
REMEMBERED: Final = 4_096
"""Ways in one generation of two, and bearers."""
POLICIES: Final = 64
"""Under how many policies a bearer's terms are remembered."""
LONGEST: Final = 2_048
"""Bytes by which a remembered way or bearer may be told from others: what they all take is bounded by this."""
REVERIFY_SECONDS: Final = 1.0
"""How long a bearer's caller is believed before the authenticator is asked again."""

_Identity = tuple[str, bytes, bytes, str, bytes | None, bytes | None, bytes | None, bytes | None]


class HitHeaders:
    """A stored answer's fields as they were sent last, ready for as long as its age and what is left are the same."""

    __slots__ = ("age", "entry", "headers", "left")

    def __init__(self, entry: Entry, age: int, left: int, headers: list[Header]) -> None:
        self.entry = entry
        self.age = age
        self.left = left
        self.headers = headers


class ForwardedHeaders(NamedTuple):
    """What a backend is told of a request with the fields `given`, but for what differs with each."""

    given: Headers
    client: str
    scheme: str
    headers: Headers
    written: bytes
    continues_trace: bool


class Grant:
    """What holds for one caller under one policy, whatever it asks for. `refusal` is step 4's no.

    `rate_key` is whom step 2 counts, under `rate`: empty where that is an address.
    """

    __slots__ = ("caller", "denial", "policy", "rate", "rate_key", "told")

    def __init__(self, caller: Caller | None, policy: RoutePolicy | None, refusal: GatewayError | None) -> None:
        self.caller = caller
        self.policy = policy
        self.denial = refusal
        self.rate = RatePolicy()
        self.rate_key = ""
        self.told: ForwardedHeaders | None = None

    def remember(self, told: ForwardedHeaders) -> None:
        """What was told last, if it is short enough to be kept."""
        if sum(map(len, chain.from_iterable(told.given))) <= LONGEST:
            self.told = told


class CredentialState:
    """Who bears one credential, or none: what all their requests have in common.

    A fault in reading the credential waits in `unread` for the step that tells of it. `caller` is the credential's, as
    far as that is known without waiting, believed until `known_until` (Unix time).
    """

    __slots__ = ("_terms", "caller", "credential", "parse_error", "verified_until")

    def __init__(self, headers: Headers) -> None:
        self.credential: Credential | None = None
        self.parse_error: GatewayError | None = None
        self.caller: Caller | None = None
        self.verified_until = 0.0
        self._terms: dict[tuple[str, int], Grant] = {}
        try:
            self.credential = credential(headers)
        except Unauthenticated as error:
            self.parse_error = error

    def terms(self, match: Match, caller: Caller | None) -> Grant:
        name, policy = match.service.name, match.policy
        place = name, id(policy)  # services may share a policy
        terms = self._terms.get(place)
        if terms is None or terms.caller is not caller or terms.policy is not policy:
            if len(self._terms) >= POLICIES:
                self._terms.clear()
            terms = self._terms[place] = Grant(caller, policy, authorize(name, policy, caller))
        return terms


class CallerSlot:
    """What holds for one caller on a way. `key` is the answer's in the cache, empty until it is first looked up."""

    __slots__ = ("caller", "key", "page", "terms")

    def __init__(self, caller: Caller | None, terms: Grant) -> None:
        self.caller = caller
        self.terms = terms
        self.key = ""
        self.page: HitHeaders | None = None


class Resolution:
    """A fault in finding the route waits in `unrouted` for the step that tells of it. `is_index`: it asks for the list
    of services.
    """

    __slots__ = ("_seat", "auth", "credential_state", "is_index", "match", "path", "prefix", "unrouted")

    def __init__(self, bearer: CredentialState) -> None:
        self.credential_state = bearer
        self.path = ""
        self.prefix = b""
        self.is_index = False
        self.match: Match | None = None
        self.unrouted: GatewayError | None = None
        self.auth = Auth.REQUIRED  # where no service is found, so that names cannot be probed
        self._seat: CallerSlot | None = None

    @classmethod
    def of(cls, request: Request, table: RouteTable, bearer: CredentialState | None = None) -> "Resolution":
        """Raises BadRequest, HeadersTooLarge or TargetTooLong for a request that is none."""
        validation.check_fields(request)
        return cls.toward(request, table, bearer or CredentialState(request.headers))

    @classmethod
    def toward(cls, request: Request, table: RouteTable, bearer: CredentialState) -> "Resolution":
        """The same for a request whose fields are well-formed."""
        validation.check_target(request)
        way = cls(bearer)
        way.path = request.path.decode("latin-1")
        way._find(request, table)
        return way

    def caller_slot(self, caller: Caller | None) -> CallerSlot:
        seat = self._seat
        if seat is None or seat.caller is not caller:
            match = self.match
            terms = self.credential_state.terms(match, caller) if match else Grant(caller, None, self.unrouted)
            seat = self._seat = CallerSlot(caller, terms)
        return seat

    def _find(self, request: Request, table: RouteTable) -> None:
        try:
            service = table.by_host(host(request)) if table.has_hosts else None
            if service is not None:
                self.match = table.within(service, request.method, request.path)
            elif request.path in (PREFIX, PREFIX[:-1]):
                self.is_index = True
            elif request.path.startswith(PREFIX):
                name, slash, rest = request.path[len(PREFIX) :].partition(b"/")
                self.prefix = PREFIX + name
                self.match = table.match(name.decode("latin-1"), request.method, slash + rest or b"/")
            else:
                raise UnknownService("there is nothing here")
        except GatewayError as error:
            self.unrouted = error
        if self.match is not None:
            self.auth = self.match.policy.auth


UNRESOLVED: Final = Resolution(CredentialState([]))
"""Before step 2 has looked."""


class ResolutionCache:
    """One process's, forgotten as a whole when the configuration or the keys change."""

    def __init__(self, live: LiveConfiguration) -> None:
        self._live = live
        self._table, self._keys = live.table, live.keys
        self._known: TwoGenerationMemo[_Identity, Resolution] = TwoGenerationMemo(REMEMBERED)
        self._bearers: TwoGenerationMemo[tuple[bytes | None, bytes | None], CredentialState] = TwoGenerationMemo(
            REMEMBERED
        )
        self.epoch = object()

    def of(self, request: Request) -> Resolution:
        """The way of a request that is well-formed. Raises BadRequest, HeadersTooLarge or TargetTooLong."""
        live, alike = self._live, request.shared_head
        if self._table is not live.table or self._keys is not live.keys:
            self._table, self._keys = live.table, live.keys
            self._known.clear()
            self._bearers.clear()
            self.epoch = object()
        if alike is None or request.caller is not None:
            return self._found(request)
        if alike.epoch is not self.epoch:
            alike.resolution, alike.epoch = self._of_kin(request, alike.shared_fields), self.epoch
        way: Resolution = alike.resolution
        return way

    def _of_kin(self, request: Request, kin: SharedFields) -> Resolution:
        """By its fields, where a request with the same has been found well-formed."""
        if kin.epoch is self.epoch:
            return Resolution.toward(request, self._table, kin.credential_state)
        way = self._found(request)
        kin.credential_state, kin.epoch = way.credential_state, self.epoch
        return way

    def _found(self, request: Request) -> Resolution:
        live, fields = self._live, request.fields
        if len(fields) != len(request.headers) or request.caller is not None or b"transfer-encoding" in fields:
            return Resolution.of(request, live.table)  # what an identity does not tell of
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
        way = self._known.get(identity)
        if way is not None:
            validation.check_size(request.headers)
            return way
        way = Resolution.of(request, live.table, self._bearer(fields, request.headers))
        if sum([len(part) for part in identity if part]) <= LONGEST:
            self._known.put(identity, way)
        return way

    def _bearer(self, fields: dict[bytes, bytes], headers: Headers) -> CredentialState:
        """Of a request that repeats no field."""
        borne = fields.get(b"authorization"), fields.get(b"x-api-key")
        bearer = self._bearers.get(borne)
        if bearer is None:
            bearer = CredentialState(headers)
            if sum([len(part) for part in borne if part]) <= LONGEST:
                self._bearers.put(borne, bearer)
        return bearer


def authorize(name: str, policy: RoutePolicy, caller: Caller | None) -> GatewayError | None:
    """Why this caller may not use the service now, by contract section 3, step 4; None when it may."""
    if caller is not None and not caller.may_use(name, policy.scopes):
        return Forbidden("the credential's scopes do not cover this service", service=name)
    if caller is None and policy.scopes:
        return Unauthenticated("this service asks for scopes", service=name)
    if not policy.enabled:
        return ServiceDisabled("an operator has switched this service off", service=name)
    return None


def host(request: Request) -> str:
    """The host a request names, in lower case, with its port if it has one."""
    return request.fields.get(b"host", b"").decode("latin-1").lower()
