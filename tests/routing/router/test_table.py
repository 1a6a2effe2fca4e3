import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import BadRequest, MethodNotAllowed, UnknownService
from routing.router.policy import PathPolicy, RoutePolicy, Spelling, Target
from routing.router.table import RoutePattern, RouteTable, Service

TARGETS = (Target("http://127.0.0.1:9101"),)


def table(*routes: RoutePattern) -> RouteTable:
    return RouteTable([Service("crm", TARGETS, routes=routes)])


def test_a_path_without_a_route_follows_the_services_own_settings() -> None:
    match = table(RoutePattern("/channels", ("GET",))).match("crm", "POST", b"/other")
    assert (match.pattern, match.policy) == ("", RoutePolicy())


def test_the_first_route_that_fits_wins() -> None:
    routes = table(RoutePattern("/{any}"), RoutePattern("/channels"))
    assert routes.match("crm", "GET", b"/channels").pattern == "/{any}"


def test_a_route_for_another_method_is_passed_over() -> None:
    routes = table(RoutePattern("/channels", ("GET",)), RoutePattern("/channels", ("POST", "DELETE")))
    assert routes.match("crm", "DELETE", b"/channels").policy == RoutePolicy()
    assert routes.match("crm", "HEAD", b"/channels").pattern == "/channels"


def test_a_method_no_route_allows_is_refused_with_those_that_are() -> None:
    routes = table(RoutePattern("/channels", ("GET",)), RoutePattern("/channels", ("POST",)))
    with pytest.raises(MethodNotAllowed) as refusal:
        routes.match("crm", "PUT", b"/channels")
    assert refusal.value.allow == ("GET", "HEAD", "POST")


def test_parameters_are_decoded_and_one_segment_long() -> None:
    routes = table(RoutePattern("/mailboxes/{user}/messages"))
    assert routes.match("crm", "GET", b"/mailboxes/a%40b/messages").params == (("user", "a@b"),)
    assert routes.match("crm", "GET", b"/mailboxes/a/b/messages").pattern == ""
    with pytest.raises(BadRequest):
        routes.match("crm", "GET", b"/mailboxes//messages")
    passing = RouteTable(
        [msgspec.structs.replace(routes.services["crm"], paths=PathPolicy(empty_segments=Spelling.PASS))]
    )
    assert passing.match("crm", "GET", b"/mailboxes//messages").pattern == ""


def test_an_encoded_letter_does_not_slip_past_a_route() -> None:
    assert table(RoutePattern("/admin")).match("crm", "GET", b"/%61dmin").pattern == "/admin"


def test_a_star_takes_the_rest() -> None:
    routes = table(RoutePattern("/files/*"))
    assert [routes.match("crm", "GET", path).pattern for path in (b"/files/a/b", b"/files/", b"/files", b"/file")] == [
        "/files/*",
        "/files/*",
        "/files/*",
        "",
    ]


def test_the_backends_path_is_the_bytes_as_sent() -> None:
    assert table().match("crm", "GET", b"/a%2Fb;x=\xff").path == b"/a%2Fb;x=\xff"


def test_an_unknown_service_is_refused() -> None:
    with pytest.raises(UnknownService):
        table().match("nobody", "GET", b"/")


def test_a_service_is_found_by_its_host_in_any_case() -> None:
    routes = RouteTable([Service("crm", TARGETS, hosts=("CRM.example.com",))])
    found = routes.by_host("crm.example.com")
    assert found is not None
    assert found.name == "crm"
    assert routes.by_host("other.example.com") is None


SEGMENTS = st.sampled_from(["a", "b", "{x}", "{y}"])


@given(
    st.lists(st.lists(SEGMENTS, min_size=1, max_size=3), max_size=8),
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3),
)
def test_the_tree_finds_what_a_walk_through_the_list_finds(patterns: list[list[str]], path: list[str]) -> None:
    routes = [RoutePattern("/" + "/".join(pattern)) for pattern in patterns]
    fitting = [
        route.path
        for route, pattern in zip(routes, patterns, strict=True)
        if len(pattern) == len(path) and all(p in (s, "{x}", "{y}") for p, s in zip(pattern, path, strict=True))
    ]
    match = table(*routes).match("crm", "GET", b"/" + "/".join(path).encode())
    assert match.pattern == (fitting[0] if fitting else "")
