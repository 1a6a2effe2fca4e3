"""What requests that are alike have in common, worked out once: their route, their credential, their caller's rights.

Most requests are like one that came before: the same target, asked for with the same credential. All that follows
from those alone, and from the configuration, is remembered here, so that steps 2 to 5 find it ready.
"""

from itertools import chain
from typing import Final, NamedTuple

from resilience.cache.entry import Entry
from resilience.ratelimit.policy import RatePolicy
from routing import admission
from routing.authentication.authenticator import Credential, credential
from routing.caller import Caller
from routing.configuration.live import Live
from routing.errors import Forbidden, GatewayError, ServiceDisabled, Unauthenticated, UnknownService
from routing.http import Header, Headers, Request
from routing.policy import Auth, RoutePolicy
from routing.table import Match, RouteTable

PREFIX: Final = b"/api/v1/"
REMEMBERED: Final = 4_096
"""Ways in one generation. There are two, the younger taking up what is used of the elder: whoever asks for many
different things pushes out what nobody asks for, and nothing else."""
LONGEST: Final = 2_048
"""Bytes by which a remembered way may be told from others: what they all take is bounded by this."""
CONFIRMED_SECONDS: Final = 1.0
"""How long a way's caller is believed before the authenticator is asked again."""

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


class Seat:
    """What holds for one caller on a way. `refusal` is step 4's no.

    `rate_key` is whom step 2 counts, under `rate`: empty where that is an address. `key` is the answer's in the cache,
    empty until it is first looked up.
    """

    __slots__ = ("caller", "key", "page", "rate", "rate_key", "refusal", "told")

    def __init__(self, caller: Caller | None, refusal: GatewayError | None) -> None:
        self.caller = caller
        self.refusal = refusal
        self.rate = RatePolicy()
        self.rate_key = ""
        self.key = ""
        self.page: Page | None = None
        self.told: Told | None = None

    def remember(self, told: Told) -> None:
        """What was told last, if it is short enough to be kept."""
        if sum(map(len, chain.from_iterable(told.given))) <= LONGEST:
            self.told = told


class Way:
    """A fault found before the step that tells of it waits in `unread` (the credential's) or `unrouted` (the route's).

    `is_index`: it asks for the list of services. `caller` is the credential's, as far as that is known without waiting,
    believed until `known_until` (Unix time).
    """

    __slots__ = (
        "_seat",
        "auth",
        "caller",
        "credential",
        "is_index",
        "known_until",
        "match",
        "path",
        "prefix",
        "unread",
        "unrouted",
    )

    def __init__(self) -> None:
        self.path = ""
        self.prefix = b""
        self.is_index = False
        self.match: Match | None = None
        self.unrouted: GatewayError | None = None
        self.auth = Auth.REQUIRED  # where no service is found, so that names cannot be probed
        self.credential: Credential | None = None
        self.unread: GatewayError | None = None
        self.caller: Caller | None = None
        self.known_until = 0.0
        self._seat: Seat | None = None

    @classmethod
    def of(cls, request: Request, table: RouteTable) -> "Way":
        """Raises BadRequest or HeadersTooLarge for a request that is none."""
        admission.check(request)
        way = cls()
        way.path = request.path.decode("latin-1")
        way._find(request, table)
        try:
            way.credential = credential(request.headers)
        except Unauthenticated as error:
            way.unread = error
        return way

    def seat(self, caller: Caller | None) -> Seat:
        seat = self._seat
        if seat is None or seat.caller is not caller:
            match = self.match
            refusal = turned_away(match.service.name, match.policy, caller) if match else self.unrouted
            seat = self._seat = Seat(caller, refusal)
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


NOWHERE: Final = Way()
"""Before step 2 has looked."""


class Ways:
    """One process's, forgotten as a whole when the configuration or the keys change."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._table, self._keys = live.table, live.keys
        self._young: dict[_Identity, Way] = {}
        self._old: dict[_Identity, Way] = {}
        self._era = object()

    def of(self, request: Request) -> Way:
        """The way of a request that is well-formed. Raises BadRequest or HeadersTooLarge."""
        live, alike = self._live, request.alike
        if self._table is not live.table or self._keys is not live.keys:
            self._table, self._keys = live.table, live.keys
            self._young, self._old = {}, {}
            self._era = object()
        if alike is not None and alike.depends is self._era and request.caller is None:
            known: Way = alike.way
            return known
        way = self._found(request)
        if alike is not None and request.caller is None:
            alike.way, alike.depends = way, self._era
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
        way = self._young.get(identity)
        if way is None:
            way = self._old.get(identity) or Way.of(request, live.table)
            self._keep(identity, way)
        admission.check_size(request.headers)
        return way

    def _keep(self, identity: _Identity, way: Way) -> None:
        if sum(len(part) for part in identity if part) > LONGEST:
            return
        if len(self._young) >= REMEMBERED:
            self._young, self._old = {}, self._young
        self._young[identity] = way


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
