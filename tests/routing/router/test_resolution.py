"""What the resolution cache shares between requests, and when it must not."""

import pytest

from routing.authentication.api_keys import ApiKeys, generate_api_key
from routing.caller import Caller
from routing.errors import BadRequest, Forbidden, HeadersTooLarge, ServiceDisabled, Unauthenticated
from routing.http import Header, Request
from routing.router.live import LiveConfiguration
from routing.router.policy import Auth, RoutePolicy, Target
from routing.router.resolution import LONGEST, POLICIES, Resolution
from routing.router.resolution_cache import REMEMBERED, ResolutionCache
from routing.router.table import RouteTable, Service

HOST = (b"host", b"gateway.test")
KEY = (b"x-api-key", generate_api_key().key.encode())
TARGETS = (Target("http://127.0.0.1:9"),)


def table(policy: RoutePolicy | None = None) -> RouteTable:
    return RouteTable([Service("crm", TARGETS, policy=policy or RoutePolicy())])


def request(
    *headers: Header, path: bytes = b"/api/v1/crm/contacts", method: str = "GET", query: bytes = b""
) -> Request:
    return Request(method, path, query, [HOST, *headers], "192.0.2.1")


def again(cache: ResolutionCache, repeated: Request) -> Resolution:
    """The resolution of a repeated request: kept from the second time on."""
    cache.of(repeated)
    return cache.of(repeated)


@pytest.fixture
def cache() -> ResolutionCache:
    return ResolutionCache(LiveConfiguration(table()))


def test_repeated_requests_share_a_resolution(cache: ResolutionCache) -> None:
    resolution = again(cache, request(KEY))
    assert cache.of(request(KEY, (b"accept", b"*/*"))) is resolution
    assert (resolution.path, resolution.prefix, resolution.credential_state.credential is not None) == (
        "/api/v1/crm/contacts",
        b"/api/v1/crm",
        True,
    )
    assert resolution.match is not None
    assert resolution.match.service.name == "crm"


@pytest.mark.parametrize(
    "other",
    [
        request(KEY, path=b"/api/v1/crm/other"),
        request(KEY, method="POST"),
        request(KEY, query=b"page=2"),
        request((b"x-api-key", generate_api_key().key.encode())),
        request((b"authorization", b"Bearer " + KEY[1])),
        request(),
        request(KEY, (b"cookie", b"session=1")),
        Request("GET", b"/api/v1/crm/contacts", b"", [(b"host", b"other.test"), KEY], "192.0.2.1"),
        Request("GET", b"/api/v1/crm/contacts", b"", [HOST, KEY], "192.0.2.1", version="1.0"),
    ],
    ids=["path", "method", "query", "key", "bearer", "none", "cookie", "host", "version"],
)
def test_whatever_may_resolve_differently_has_a_resolution_of_its_own(cache: ResolutionCache, other: Request) -> None:
    assert again(cache, other) is not again(cache, request(KEY))


def test_a_request_that_repeats_a_field_is_never_memoised(cache: ResolutionCache) -> None:
    """The memo's key contains only the first value of each field."""
    again(cache, request(KEY))
    assert again(cache, request(KEY, KEY)).credential_state.parse_error is not None
    with pytest.raises(BadRequest):
        cache.of(request(KEY, HOST))
    assert cache.of(request(KEY)).credential_state.parse_error is None


def test_a_malformed_request_is_refused_however_often_it_is_repeated(cache: ResolutionCache) -> None:
    for _ in range(3):
        with pytest.raises(BadRequest):
            cache.of(request(path=b"/api/v1/crm/../other"))


def test_a_memoised_resolution_does_not_admit_oversized_header_fields(cache: ResolutionCache) -> None:
    again(cache, request(KEY))
    with pytest.raises(HeadersTooLarge):
        cache.of(request(KEY, (b"x-large", b"x" * 40_000)))


def test_a_session_caller_shares_no_resolution_with_a_credential(cache: ResolutionCache) -> None:
    known = again(cache, request(KEY))
    session = request(KEY)
    session.caller = Caller("staff:ann")
    assert cache.of(session) is not known


@pytest.mark.parametrize("what", ["table", "keys"])
def test_a_new_configuration_or_new_keys_clear_the_cache(what: str) -> None:
    live = LiveConfiguration(table())
    cache = ResolutionCache(live)
    resolution = again(cache, request(KEY))
    live.table, live.keys = (table(), live.keys) if what == "table" else (live.table, ApiKeys())
    assert cache.of(request(KEY)) is not resolution


def test_a_used_resolution_survives_a_flood_of_others(cache: ResolutionCache) -> None:
    kept, twice = again(cache, request(KEY)), again(cache, request(path=b"/api/v1/crm/twice"))
    for number in range(3 * REMEMBERED):
        again(cache, request(path=b"/api/v1/crm/%d" % number))
        if number % (REMEMBERED // 2) == 0:
            assert cache.of(request(KEY)) is kept
    assert cache.of(request(path=b"/api/v1/crm/twice")) is not twice


def test_targets_requested_once_evict_nothing(cache: ResolutionCache) -> None:
    kept = again(cache, request(KEY))
    for number in range(3 * REMEMBERED):
        cache.of(request(path=b"/api/v1/crm/%d" % number))
    assert cache.of(request(KEY)) is kept


def test_a_long_target_is_not_memoised(cache: ResolutionCache) -> None:
    long = request(query=b"x" * LONGEST)
    assert again(cache, long) is not cache.of(long)


def test_a_caller_slot_belongs_to_one_caller() -> None:
    resolution = ResolutionCache(LiveConfiguration(table(RoutePolicy(scopes=("sales",))))).of(request(KEY))
    may, may_not = Caller("a", scopes=frozenset({"crm", "sales"})), Caller("b", scopes=frozenset({"crm"}))
    assert resolution.caller_slot(may).grant.denial is None
    assert isinstance(resolution.caller_slot(may_not).grant.denial, Forbidden)
    assert isinstance(resolution.caller_slot(None).grant.denial, Unauthenticated)
    assert resolution.caller_slot(may) is resolution.caller_slot(may)


def test_all_targets_of_a_caller_share_its_grant(cache: ResolutionCache) -> None:
    ann = Caller("a", scopes=frozenset({"crm"}))
    one, other = again(cache, request(KEY)), cache.of(request(KEY, path=b"/api/v1/crm/other"))
    assert one.credential_state is other.credential_state
    assert one.caller_slot(ann).grant is other.caller_slot(ann).grant
    assert one.caller_slot(ann).grant is not one.caller_slot(Caller("a", scopes=frozenset({"crm"}))).grant
    assert cache.of(request()).credential_state is not one.credential_state


def test_a_policy_shared_by_two_services_grants_access_to_each_separately() -> None:
    policy = RoutePolicy()
    cache = ResolutionCache(
        LiveConfiguration(RouteTable([Service(name, TARGETS, policy=policy) for name in ("crm", "mail")]))
    )
    ann = Caller("a", scopes=frozenset({"crm"}))
    crm, mail = again(cache, request(KEY)), cache.of(request(KEY, path=b"/api/v1/mail/"))
    assert crm.credential_state is mail.credential_state
    for _ in range(2):
        assert crm.caller_slot(ann).grant.denial is None
        assert isinstance(mail.caller_slot(ann).grant.denial, Forbidden)


def test_the_number_of_grants_of_a_credential_is_bounded() -> None:
    services = [Service(f"s{number}", TARGETS) for number in range(3 * POLICIES)]
    cache, ann = ResolutionCache(LiveConfiguration(RouteTable(services))), Caller("a", scopes=frozenset({"*"}))
    again(cache, request(KEY))
    for service in services:
        resolution = cache.of(request(KEY, path=b"/api/v1/%b/" % service.name.encode()))
        assert resolution.caller_slot(ann).grant.denial is None
    assert len(resolution.credential_state._grants) <= POLICIES


def test_a_disabled_service_denies_every_caller() -> None:
    resolution = ResolutionCache(LiveConfiguration(table(RoutePolicy(enabled=False, auth=Auth.NONE)))).of(request())
    assert isinstance(resolution.caller_slot(None).grant.denial, ServiceDisabled)
