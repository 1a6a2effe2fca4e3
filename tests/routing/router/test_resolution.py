"""What is remembered of requests that are alike, and when it is not to be trusted."""

import pytest

from routing.authentication.api_keys import ApiKeys, mint
from routing.caller import Caller
from routing.errors import BadRequest, Forbidden, HeadersTooLarge, ServiceDisabled, Unauthenticated
from routing.http import Header, Request
from routing.router.live import Live
from routing.router.policy import Auth, RoutePolicy, Target
from routing.router.resolution import LONGEST, POLICIES, REMEMBERED, Way, Ways
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


def again(ways: Ways, asked: Request) -> Way:
    """The way of what has come before: from the second time on it is remembered."""
    ways.of(asked)
    return ways.of(asked)


@pytest.fixture
def ways() -> Ways:
    return Ways(Live(table()))


def test_requests_that_are_alike_share_a_way(ways: Ways) -> None:
    way = again(ways, request(KEY))
    assert ways.of(request(KEY, (b"accept", b"*/*"))) is way
    assert (way.path, way.prefix, way.bearer.credential is not None) == ("/api/v1/crm/contacts", b"/api/v1/crm", True)
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
def test_whatever_may_lead_elsewhere_has_a_way_of_its_own(ways: Ways, other: Request) -> None:
    assert again(ways, other) is not again(ways, request(KEY))


def test_a_repeated_field_is_read_anew_and_never_remembered(ways: Ways) -> None:
    """An identity has each field's first line alone."""
    again(ways, request(KEY))
    assert again(ways, request(KEY, KEY)).bearer.unread is not None
    with pytest.raises(BadRequest):
        ways.of(request(KEY, HOST))
    assert ways.of(request(KEY)).bearer.unread is None


def test_a_malformed_request_has_no_way_however_often_it_comes(ways: Ways) -> None:
    for _ in range(3):
        with pytest.raises(BadRequest):
            ways.of(request(path=b"/api/v1/crm/../other"))


def test_a_known_way_does_not_let_large_fields_in(ways: Ways) -> None:
    again(ways, request(KEY))
    with pytest.raises(HeadersTooLarge):
        ways.of(request(KEY, (b"x-large", b"x" * 40_000)))


def test_a_session_caller_shares_nothing_with_those_who_send_a_credential(ways: Ways) -> None:
    known = again(ways, request(KEY))
    asked = request(KEY)
    asked.caller = Caller("staff:ann")
    assert ways.of(asked) is not known


@pytest.mark.parametrize("what", ["table", "keys"])
def test_another_configuration_or_other_keys_forget_everything(what: str) -> None:
    live = Live(table())
    ways = Ways(live)
    way = again(ways, request(KEY))
    live.table, live.keys = (table(), live.keys) if what == "table" else (live.table, ApiKeys())
    assert ways.of(request(KEY)) is not way


def test_what_is_asked_for_stays_however_many_others_come(ways: Ways) -> None:
    kept, twice = again(ways, request(KEY)), again(ways, request(path=b"/api/v1/crm/twice"))
    for number in range(3 * REMEMBERED):
        again(ways, request(path=b"/api/v1/crm/%d" % number))
        if number % (REMEMBERED // 2) == 0:
            assert ways.of(request(KEY)) is kept
    assert ways.of(request(path=b"/api/v1/crm/twice")) is not twice


def test_what_comes_once_pushes_out_nothing(ways: Ways) -> None:
    kept = again(ways, request(KEY))
    for number in range(3 * REMEMBERED):
        ways.of(request(path=b"/api/v1/crm/%d" % number))
    assert ways.of(request(KEY)) is kept


def test_what_would_take_much_memory_is_not_remembered(ways: Ways) -> None:
    long = request(query=b"x" * LONGEST)
    assert again(ways, long) is not ways.of(long)


def test_a_seat_is_one_callers() -> None:
    way = Ways(Live(table(RoutePolicy(scopes=("sales",))))).of(request(KEY))
    may, may_not = Caller("a", scopes=frozenset({"crm", "sales"})), Caller("b", scopes=frozenset({"crm"}))
    assert way.seat(may).terms.refusal is None
    assert isinstance(way.seat(may_not).terms.refusal, Forbidden)
    assert isinstance(way.seat(None).terms.refusal, Unauthenticated)
    assert way.seat(may) is way.seat(may)


def test_what_holds_for_a_caller_is_the_same_whatever_it_asks_for(ways: Ways) -> None:
    ann = Caller("a", scopes=frozenset({"crm"}))
    one, other = again(ways, request(KEY)), ways.of(request(KEY, path=b"/api/v1/crm/other"))
    assert one.bearer is other.bearer
    assert one.seat(ann).terms is other.seat(ann).terms
    assert one.seat(ann).terms is not one.seat(Caller("a", scopes=frozenset({"crm"}))).terms
    assert ways.of(request()).bearer is not one.bearer


def test_a_policy_that_two_services_share_gives_a_right_to_neither() -> None:
    policy = RoutePolicy()
    ways = Ways(Live(RouteTable([Service(name, TARGETS, policy=policy) for name in ("crm", "mail")])))
    ann = Caller("a", scopes=frozenset({"crm"}))
    crm, mail = again(ways, request(KEY)), ways.of(request(KEY, path=b"/api/v1/mail/"))
    assert crm.bearer is mail.bearer
    for _ in range(2):
        assert crm.seat(ann).terms.refusal is None
        assert isinstance(mail.seat(ann).terms.refusal, Forbidden)


def test_what_holds_under_many_policies_is_forgotten_before_it_is_too_much() -> None:
    services = [Service(f"s{number}", TARGETS) for number in range(3 * POLICIES)]
    ways, ann = Ways(Live(RouteTable(services))), Caller("a", scopes=frozenset({"*"}))
    again(ways, request(KEY))
    for service in services:
        way = ways.of(request(KEY, path=b"/api/v1/%b/" % service.name.encode()))
        assert way.seat(ann).terms.refusal is None
    assert len(way.bearer._terms) <= POLICIES


def test_a_service_that_is_off_has_no_seats() -> None:
    way = Ways(Live(table(RoutePolicy(enabled=False, auth=Auth.NONE)))).of(request())
    assert isinstance(way.seat(None).terms.refusal, ServiceDisabled)
