"""What requests that are alike have in common, worked out once: their route, their credential, their caller's rights.

Most requests are like one that came before: the same target, or at least another of a caller that is known. All that
follows from those alone, and from the configuration, is remembered here, so that steps 2 to 5 find it ready.
"""

from itertools import chain
from typing import Final, NamedTuple

from resilience.cache.entry import Entry
from resilience.memo import Remembered
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.authenticator import Credential, credential
from routing.caller import Caller
from routing.errors import Forbidden, GatewayError, ServiceDisabled, Unauthenticated, UnknownService
from routing.http import Header, Headers, Kin, Request
from routing.messages import validation
from routing.router.live import Live
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import Match, RouteTable

PREFIX: Final = b"/api/v1/"
REMEMBERED: Final = 4_096
"""Ways in one generation of two, and bearers."""
POLICIES: Final = 64
"""Under how many policies a bearer's terms are remembered."""
LONGEST: Final = 2_048
"""Bytes by which a remembered way or bearer may be told from others: what they all take is bounded by this."""
CONFIRMED_SECONDS: Final = 1.0
"""How long a bearer's caller is believed before the authenticator is asked again."""

_Identity = tuple[str, bytes, bytes, str, bytes | None, bytes | None, bytes | None, bytes | None]


class Page:
    """A stored answer's fields as they were sent last, ready for as long as its age and what is left are the same."""

    __slots__ = ("age", "entry", "headers", "left")

    def __init__(self, entry: Entry, age: int, left: int, headers: list[Header]) -> None:
        self.entry = entry
        self.age = age
        self.left = left
        self.headers = headers


class Told(NamedTuple):
    """What a backend is told of a request with the fields `given`, but for what differs with each."""

    given: Headers
    client: str
    scheme: str
    headers: Headers
    written: bytes
    continues_trace: bool


class Terms:
    """What holds for one caller under one policy, whatever it asks for. `refusal` is step 4's no.

    `rate_key` is whom step 2 counts, under `rate`: empty where that is an address.
    """

    __slots__ = ("caller", "policy", "rate", "rate_key", "refusal", "told")

    def __init__(self, caller: Caller | None, policy: RoutePolicy | None, refusal: GatewayError | None) -> None:
        self.caller = caller
        self.policy = policy
        self.refusal = refusal
        self.rate = RatePolicy()
        self.rate_key = ""
        self.told: Told | None = None

    def remember(self, told: Told) -> None:
        """What was told last, if it is short enough to be kept."""
        if sum(map(len, chain.from_iterable(told.given))) <= LONGEST:
            self.told = told


class Bearer:
    """Who bears one credential, or none: what all their requests have in common.

    A fault in reading the credential waits in `unread` for the step that tells of it. `caller` is the credential's, as
    far as that is known without waiting, believed until `known_until` (Unix time).
    """

    __slots__ = ("_terms", "caller", "credential", "known_until", "unread")

    def __init__(self, headers: Headers) -> None:
        self.credential: Credential | None = None
        self.unread: GatewayError | None = None
        self.caller: Caller | None = None
        self.known_until = 0.0
        self._terms: dict[tuple[str, int], Terms] = {}
        try:
            self.credential = credential(headers)
        except Unauthenticated as error:
            self.unread = error

    def terms(self, match: Match, caller: Caller | None) -> Terms:
        name, policy = match.service.name, match.policy
        place = name, id(policy)  # services may share a policy
        terms = self._terms.get(place)
        if terms is None or terms.caller is not caller or terms.policy is not policy:
            if len(self._terms) >= POLICIES:
                self._terms.clear()
            terms = self._terms[place] = Terms(caller, policy, turned_away(name, policy, caller))
        return terms


class Seat:
    """What holds for one caller on a way. `key` is the answer's in the cache, empty until it is first looked up."""

    __slots__ = ("caller", "key", "page", "terms")

    def __init__(self, caller: Caller | None, terms: Terms) -> None:
        self.caller = caller
        self.terms = terms
        self.key = ""
        self.page: Page | None = None


class Way:
    """A fault in finding the route waits in `unrouted` for the step that tells of it. `is_index`: it asks for the list
    of services.
    """

    __slots__ = ("_seat", "auth", "bearer", "is_index", "match", "path", "prefix", "unrouted")

    def __init__(self, bearer: Bearer) -> None:
        self.bearer = bearer
        self.path = ""
        self.prefix = b""
        self.is_index = False
        self.match: Match | None = None
        self.unrouted: GatewayError | None = None
        self.auth = Auth.REQUIRED  # where no service is found, so that names cannot be probed
        self._seat: Seat | None = None

    @classmethod
    def of(cls, request: Request, table: RouteTable, bearer: Bearer | None = None) -> "Way":
        """Raises BadRequest, HeadersTooLarge or TargetTooLong for a request that is none."""
        validation.check_fields(request)
        return cls.toward(request, table, bearer or Bearer(request.headers))

    @classmethod
    def toward(cls, request: Request, table: RouteTable, bearer: Bearer) -> "Way":
        """The same for a request whose fields are well-formed."""
        validation.check_target(request)
        way = cls(bearer)
        way.path = request.path.decode("latin-1")
        way._find(request, table)
        return way

    def seat(self, caller: Caller | None) -> Seat:
        seat = self._seat
        if seat is None or seat.caller is not caller:
            match = self.match
            terms = self.bearer.terms(match, caller) if match else Terms(caller, None, self.unrouted)
            seat = self._seat = Seat(caller, terms)
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


NOWHERE: Final = Way(Bearer([]))
"""Before step 2 has looked."""


class Ways:
    """One process's, forgotten as a whole when the configuration or the keys change."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._table, self._keys = live.table, live.keys
        self._known: Remembered[_Identity, Way] = Remembered(REMEMBERED)
        self._bearers: Remembered[tuple[bytes | None, bytes | None], Bearer] = Remembered(REMEMBERED)
        self._era = object()

    def of(self, request: Request) -> Way:
        """The way of a request that is well-formed. Raises BadRequest, HeadersTooLarge or TargetTooLong."""
        live, alike = self._live, request.alike
        if self._table is not live.table or self._keys is not live.keys:
            self._table, self._keys = live.table, live.keys
            self._known.clear()
            self._bearers.clear()
            self._era = object()
        if alike is None or request.caller is not None:
            return self._found(request)
        if alike.depends is not self._era:
            alike.way, alike.depends = self._of_kin(request, alike.kin), self._era
        way: Way = alike.way
        return way

    def _of_kin(self, request: Request, kin: Kin) -> Way:
        """By its fields, where a request with the same has been found well-formed."""
        if kin.depends is self._era:
            return Way.toward(request, self._table, kin.bearer)
        way = self._found(request)
        kin.bearer, kin.depends = way.bearer, self._era
        return way

    def _found(self, request: Request) -> Way:
        live, fields = self._live, request.fields
        if len(fields) != len(request.headers) or request.caller is not None or b"transfer-encoding" in fields:
            return Way.of(request, live.table)  # what an identity does not tell of
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
        way = Way.of(request, live.table, self._bearer(fields, request.headers))
        if sum([len(part) for part in identity if part]) <= LONGEST:
            self._known.keep(identity, way)
        return way

    def _bearer(self, fields: dict[bytes, bytes], headers: Headers) -> Bearer:
        """Of a request that repeats no field."""
        borne = fields.get(b"authorization"), fields.get(b"x-api-key")
        bearer = self._bearers.get(borne)
        if bearer is None:
            bearer = Bearer(headers)
            if sum([len(part) for part in borne if part]) <= LONGEST:
                self._bearers.keep(borne, bearer)
        return bearer


def turned_away(name: str, policy: RoutePolicy, caller: Caller | None) -> GatewayError | None:
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
