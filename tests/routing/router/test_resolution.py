"""What is remembered of requests that are alike, and when it is not to be trusted."""

import pytest

from routing.authentication.api_keys import ApiKeys, mint
from routing.caller import Caller
from routing.errors import BadRequest, Forbidden, HeadersTooLarge, ServiceDisabled, Unauthenticated
from routing.http import Header, Request
from routing.router.live import LiveConfiguration
from routing.router.policy import Auth, RoutePolicy, Target
from routing.router.resolution import LONGEST, POLICIES, REMEMBERED, Resolution, ResolutionCache
from routing.router.table import RouteTable, Service

HOST = (b"host", b"gateway.test")
KEY = (b"x-api-key", mint().key.encode())
TARGETS = (Target("http://127.0.0.1:9"),)


def table(policy: RoutePolicy | None = None) -> RouteTable:
    return RouteTable([Service("crm", TARGETS, policy=policy or RoutePolicy())])


def request(
    *headers: Header, path: bytes = b"/api/v1/crm/contacts", method: str = "GET", query: bytes = b""
) -> Request:
    return Request(method, path, query, [HOST, *headers], "192.0.2.1")


def again(ways: ResolutionCache, asked: Request) -> Resolution:
    """The way of what has come before: from the second time on it is remembered."""
    ways.of(asked)
    return ways.of(asked)


@pytest.fixture
def ways() -> ResolutionCache:
    return ResolutionCache(LiveConfiguration(table()))


def test_requests_that_are_alike_share_a_way(ways: ResolutionCache) -> None:
    way = again(ways, request(KEY))
    assert ways.of(request(KEY, (b"accept", b"*/*"))) is way
    assert (way.path, way.prefix, way.credential_state.credential is not None) == (
        "/api/v1/crm/contacts",
        b"/api/v1/crm",
        True,
    )
    assert way.match is not None
    assert way.match.service.name == "crm"


@pytest.mark.parametrize(
    "other",
    [
        request(KEY, path=b"/api/v1/crm/other"),
        request(KEY, method="POST"),
        request(KEY, query=b"page=2"),
        request((b"x-api-key", mint().key.encode())),
        request((b"authorization", b"Bearer " + KEY[1])),
        request(),
        request(KEY, (b"cookie", b"session=1")),
        Request("GET", b"/api/v1/crm/contacts", b"", [(b"host", b"other.test"), KEY], "192.0.2.1"),
        Request("GET", b"/api/v1/crm/contacts", b"", [HOST, KEY], "192.0.2.1", version="1.0"),
    ],
    ids=["path", "method", "query", "key", "bearer", "none", "cookie", "host", "version"],
)
def test_whatever_may_lead_elsewhere_has_a_way_of_its_own(ways: ResolutionCache, other: Request) -> None:
    assert again(ways, other) is not again(ways, request(KEY))


def test_a_repeated_field_is_read_anew_and_never_remembered(ways: ResolutionCache) -> None:
    """An identity has each field's first line alone."""
    again(ways, request(KEY))
    assert again(ways, request(KEY, KEY)).credential_state.parse_error is not None
    with pytest.raises(BadRequest):
        ways.of(request(KEY, HOST))
    assert ways.of(request(KEY)).credential_state.parse_error is None


def test_a_malformed_request_has_no_way_however_often_it_comes(ways: ResolutionCache) -> None:
    for _ in range(3):
        with pytest.raises(BadRequest):
            ways.of(request(path=b"/api/v1/crm/../other"))


def test_a_known_way_does_not_let_large_fields_in(ways: ResolutionCache) -> None:
    again(ways, request(KEY))
    with pytest.raises(HeadersTooLarge):
        ways.of(request(KEY, (b"x-large", b"x" * 40_000)))


def test_a_session_caller_shares_nothing_with_those_who_send_a_credential(ways: ResolutionCache) -> None:
    known = again(ways, request(KEY))
    asked = request(KEY)
    asked.caller = Caller("staff:ann")
    assert ways.of(asked) is not known


@pytest.mark.parametrize("what", ["table", "keys"])
def test_another_configuration_or_other_keys_forget_everything(what: str) -> None:
    live = LiveConfiguration(table())
    ways = ResolutionCache(live)
    way = again(ways, request(KEY))
    live.table, live.keys = (table(), live.keys) if what == "table" else (live.table, ApiKeys())
    assert ways.of(request(KEY)) is not way


def test_what_is_asked_for_stays_however_many_others_come(ways: ResolutionCache) -> None:
    kept, twice = again(ways, request(KEY)), again(ways, request(path=b"/api/v1/crm/twice"))
    for number in range(3 * REMEMBERED):
        again(ways, request(path=b"/api/v1/crm/%d" % number))
        if number % (REMEMBERED // 2) == 0:
            assert ways.of(request(KEY)) is kept
    assert ways.of(request(path=b"/api/v1/crm/twice")) is not twice


def test_what_comes_once_pushes_out_nothing(ways: ResolutionCache) -> None:
    kept = again(ways, request(KEY))
    for number in range(3 * REMEMBERED):
        ways.of(request(path=b"/api/v1/crm/%d" % number))
    assert ways.of(request(KEY)) is kept


def test_what_would_take_much_memory_is_not_remembered(ways: ResolutionCache) -> None:
    long = request(query=b"x" * LONGEST)
    assert again(ways, long) is not ways.of(long)


def test_a_seat_is_one_callers() -> None:
    way = ResolutionCache(LiveConfiguration(table(RoutePolicy(scopes=("sales",))))).of(request(KEY))
    may, may_not = Caller("a", scopes=frozenset({"crm", "sales"})), Caller("b", scopes=frozenset({"crm"}))
    assert way.caller_slot(may).terms.denial is None
    assert isinstance(way.caller_slot(may_not).terms.denial, Forbidden)
    assert isinstance(way.caller_slot(None).terms.denial, Unauthenticated)
    assert way.caller_slot(may) is way.caller_slot(may)


def test_what_holds_for_a_caller_is_the_same_whatever_it_asks_for(ways: ResolutionCache) -> None:
    ann = Caller("a", scopes=frozenset({"crm"}))
    one, other = again(ways, request(KEY)), ways.of(request(KEY, path=b"/api/v1/crm/other"))
    assert one.credential_state is other.credential_state
    assert one.caller_slot(ann).terms is other.caller_slot(ann).terms
    assert one.caller_slot(ann).terms is not one.caller_slot(Caller("a", scopes=frozenset({"crm"}))).terms
    assert ways.of(request()).credential_state is not one.credential_state


def test_a_policy_that_two_services_share_gives_a_right_to_neither() -> None:
    policy = RoutePolicy()
    ways = ResolutionCache(
        LiveConfiguration(RouteTable([Service(name, TARGETS, policy=policy) for name in ("crm", "mail")]))
    )
    ann = Caller("a", scopes=frozenset({"crm"}))
    crm, mail = again(ways, request(KEY)), ways.of(request(KEY, path=b"/api/v1/mail/"))
    assert crm.credential_state is mail.credential_state
    for _ in range(2):
        assert crm.caller_slot(ann).terms.denial is None
        assert isinstance(mail.caller_slot(ann).terms.denial, Forbidden)


def test_what_holds_under_many_policies_is_forgotten_before_it_is_too_much() -> None:
    services = [Service(f"s{number}", TARGETS) for number in range(3 * POLICIES)]
    ways, ann = ResolutionCache(LiveConfiguration(RouteTable(services))), Caller("a", scopes=frozenset({"*"}))
    again(ways, request(KEY))
    for service in services:
        way = ways.of(request(KEY, path=b"/api/v1/%b/" % service.name.encode()))
        assert way.caller_slot(ann).terms.denial is None
    assert len(way.credential_state._terms) <= POLICIES


def test_a_service_that_is_off_has_no_seats() -> None:
    way = ResolutionCache(LiveConfiguration(table(RoutePolicy(enabled=False, auth=Auth.NONE)))).of(request())
    assert isinstance(way.caller_slot(None).terms.denial, ServiceDisabled)
