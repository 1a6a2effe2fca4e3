"""Every spelling of a guarded path that some server reads as it gets the guard's restrictions, or is refused."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.signatures.policy import DEFAULT_POLICY, NonceRule, SignaturePolicy
from routing.errors import BadRequest, GatewayError
from routing.http import Request
from routing.messages import validation
from routing.messages.cors import CorsPolicy
from routing.router.policy import Auth, PathPolicy, RoutePolicy, Spelling, Target, TrailingSlash
from routing.router.spelling import Segments, normalized, readings
from routing.router.table import Match, RoutePattern, RouteTable, Service
from tests.processor_time import milliseconds

EXAMPLES: Final = int(os.environ.get("SPELLINGS", "500"))
"""`SPELLINGS=100000` tries as many."""

# How servers find a path's segments in what they receive. None: it answers 400.

Reader = Callable[[bytes], list[bytes] | None]


def plain(path: bytes) -> list[bytes]:
    """Node, Go: split, then decode each segment."""
    return [unquote_to_bytes(segment) for segment in path.split(b"/")[1:]]


def django(path: bytes) -> list[bytes]:
    return unquote_to_bytes(path).split(b"/")[1:]


def merging(path: bytes) -> list[bytes]:
    """Nginx, Werkzeug: decode, and merge slashes."""
    return re.sub(rb"/+", b"/", unquote_to_bytes(path)).split(b"/")[1:]


def tomcat(path: bytes) -> list[bytes]:
    """Without `;parameters`, then decoded, with encoded slashes and backslashes allowed."""
    decoded = unquote_to_bytes(re.sub(rb";[^/]*", b"", path)).replace(b"\\", b"/")
    return re.sub(rb"/+", b"/", decoded).split(b"/")[1:]


def late_parameters(path: bytes) -> list[bytes]:
    return [segment.partition(b";")[0] for segment in unquote_to_bytes(path).split(b"/")[1:]]


def windows(path: bytes) -> list[bytes]:
    """IIS and other servers over Windows paths."""
    segments = re.split(rb"[/\\]+", unquote_to_bytes(path))[1:]
    return [segment.rstrip(b" .") or segment for segment in segments]


def twice(path: bytes) -> list[bytes]:
    return unquote_to_bytes(unquote_to_bytes(path)).split(b"/")[1:]


def behind_a_decoding_proxy(path: bytes) -> list[bytes]:
    return re.split(rb"[?#]", unquote_to_bytes(path), maxsplit=1)[0].split(b"/")[1:]


def lenient(path: bytes) -> list[bytes]:
    text = unquote_to_bytes(path).decode("utf-8", "ignore")
    return [segment.encode() for segment in unicodedata.normalize("NFKC", text).split("/")[1:]]


READERS: Final[tuple[Reader, ...]] = (
    plain,
    django,
    merging,
    tomcat,
    late_parameters,
    windows,
    twice,
    behind_a_decoding_proxy,
    lenient,
)

SHARED = CachePolicy(scope=Scope.SHARED)
GUARDS: Final = (
    RoutePolicy(scopes=("admin",)),
    RoutePolicy(enabled=False),
    RoutePolicy(rate_limit=RatePolicy(5)),
    RoutePolicy(cache=None),
    RoutePolicy(auth=Auth.NONE, cache=SHARED),
    RoutePolicy(auth=Auth.OPTIONAL, idempotency=True, websocket=True),
    RoutePolicy(cache=CachePolicy(scope=Scope.TENANT, tags=("{a}",)), invalidates=("x",)),
    RoutePolicy(auth=Auth.SIGNATURE, signature=SignaturePolicy(components=("@method",), nonce=NonceRule.OPTIONAL)),
    RoutePolicy(auth=Auth.SIGNATURE, signature=SignaturePolicy(components=("@path", "x-amount"), max_age=30)),
    RoutePolicy(cors=CorsPolicy(origins=("https://app.example.com",))),
)
NAMES: Final = ("admin", "users", "a", "b")
PATTERNS = st.lists(st.sampled_from([*NAMES, "{a}"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(f"{{p{place}}}" if part == "{a}" else part for place, part in enumerate(parts))
)
ROUTES = st.lists(
    st.builds(
        lambda pattern, rest, methods, policy: RoutePattern(f"{pattern}/*" if rest else pattern, methods, policy),
        PATTERNS,
        st.booleans(),
        st.sampled_from([(), (), ("GET",), ("POST", "DELETE")]),
        st.sampled_from(GUARDS),
    ),
    min_size=1,
    max_size=4,
)
SETTINGS = st.builds(
    PathPolicy,
    encoded_slash=st.sampled_from([None, Spelling.REFUSE, Spelling.PASS, Spelling.PASS]),
    empty_segments=st.sampled_from([Spelling.REFUSE, Spelling.PASS]),
    case_sensitive=st.booleans(),
)
SLASHES: Final = [b"/"] * 12 + [b"//", b"%2F", b"%2f", b"\\", b"%5C", b"%5c", b"%252f", b"%255C", b"/%2F", b"%2F/"]
SUFFIXES: Final = [b""] * 12 + [
    b";v=1",
    b";",
    b"%3Bx",
    b";a%2Fb",
    b".",
    b"%2E",
    b"%20",
    b"..%20",
    b"%3F",
    b"%23x",
    b"%253f",
    b"%FF",
    b"%E2%80%8B",
    b"%00",
    b"/.",
    b"/%2e%2e",
    b"%c0%af",
]


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    """A path made of the routes' segments, with some characters encoded and some slashes and suffixes odd."""
    path = b""
    for name in draw(st.lists(st.sampled_from([*NAMES, "c", ""]), max_size=4)):
        path += draw(st.sampled_from(SLASHES)) if path else b"/"
        for char in name.encode():
            path += draw(
                st.sampled_from([bytes([char])] * 12 + [b"%%%02x" % char, b"%%25%02X" % char, _full_width(char)])
            )
        path += draw(st.sampled_from(SUFFIXES))
    return (path or b"/") + draw(st.sampled_from([b"", b"", b"/", b"%2F", b"//"]))


def _full_width(char: int) -> bytes:
    return "".join(f"%{byte:02X}" for byte in chr(char + 0xFEE0).encode()).encode()


def encode(segments: Iterable[bytes]) -> bytes:
    """The unambiguous spelling of these segments."""
    return b"".join(
        b"/" + b"".join(b"%c" % byte if chr(byte).isalnum() else b"%%%02X" % byte for byte in segment)
        for segment in segments
    )


def match(table: RouteTable, method: str, path: bytes) -> Match | GatewayError:
    """As the gateway resolves a request."""
    try:
        validation.validate(Request(method, path, b"", [(b"host", b"gateway")], "192.0.2.1"))
        return table.match("crm", method, path)
    except GatewayError as error:
        return error


def is_as_strict(policy: RoutePolicy, guard: RoutePolicy) -> bool:
    auths, scopes = (Auth.SIGNATURE, *Auth), list(Scope)  # Auth: strictest first; Scope: narrowest first
    rate, limit = policy.rate_limit or RatePolicy(), guard.rate_limit or RatePolicy()
    return all(
        [
            auths.index(policy.auth) <= auths.index(guard.auth),
            set(policy.scopes) >= set(guard.scopes),
            policy.enabled <= guard.enabled,
            rate.limit / rate.window <= limit.limit / limit.window,
            policy.websocket <= guard.websocket,
            policy.idempotency >= guard.idempotency,
            set(policy.invalidates) >= set(guard.invalidates),
            guard.auth is not Auth.SIGNATURE or is_as_strict_a_signature(policy.signature, guard.signature),
            policy.cors in (guard.cors, CorsPolicy(origins=())),
            policy.cache is None
            or (guard.cache is not None and scopes.index(policy.cache.scope) <= scopes.index(guard.cache.scope)),
        ]
    )


def is_as_strict_a_signature(found: SignaturePolicy | None, guard: SignaturePolicy | None) -> bool:
    found, guard = found or DEFAULT_POLICY, guard or DEFAULT_POLICY
    has_nonce = found.nonce is NonceRule.REQUIRED or guard.nonce is NonceRule.OPTIONAL
    return has_nonce and set(found.components) >= set(guard.components) and found.max_age <= guard.max_age


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(ROUTES, SETTINGS, st.sampled_from(["GET", "POST"]), spellings(), st.sampled_from(GUARDS))
def test_no_spelling_of_a_guarded_path_gets_a_looser_policy(
    routes: list[RoutePattern], paths: PathPolicy, method: str, path: bytes, policy: RoutePolicy
) -> None:
    table = RouteTable([Service("crm", (Target("http://127.0.0.1:1"),), (), policy, tuple(routes), paths=paths)])
    found = match(table, method, path)
    for reader in READERS:
        read = reader(path)
        if isinstance(found, GatewayError) or read is None or b"" in read[:-1]:
            continue  # refused; or found by no route, as routes have no empty segments
        guarded = match(table, method, encode(read))
        if isinstance(guarded, BadRequest):
            continue  # the backend's reading has no spelling of its own, as with a slash in a segment
        assert isinstance(guarded, Match), (reader.__name__, guarded)
        assert is_as_strict(found.policy, guarded.policy), (reader.__name__, found, guarded)


GUARDED = (
    RoutePattern("/admin/*", (), RoutePolicy(scopes=("admin",))),
    RoutePattern("/payments", ("GET",)),
    RoutePattern("/off", (), RoutePolicy(enabled=False)),
    RoutePattern("/{user}/mail", (), RoutePolicy(cache=None)),
)


def table(*, routes: tuple[RoutePattern, ...] = GUARDED, **paths: object) -> RouteTable:
    policy = PathPolicy(**paths)  # type: ignore[arg-type]
    return RouteTable([Service("crm", (Target("http://127.0.0.1:1"),), routes=routes, paths=policy)])


@pytest.mark.parametrize(
    "path",
    [
        b"/%61dmin/users",
        b"/%2561dmin/users",
        b"/admin%2Fusers",
        b"/admin%2fusers",
        b"/admin%252Fusers",
        b"/admin%5Cusers",
        b"/admin\\users",
        b"/admin;v=1/users",
        b"/admin%3Bv/users",
        b"/admin/",
        b"/admin./users",
        b"/admin%20/users",
        b"/admin%3Fx",
        b"/admin%23",
        b"/%EF%BD%81dmin/users",
        b"/adm%FFin/users",
        b"/admin%2F",
        b"/x%2F%2Fadmin%2Fusers",
        b"/%2Fadmin/users",
        b"//admin/users",
        b"/;x/admin/users",
        b"/;x%2Fadmin/users",
        b"/admin%E2%88%95users",
        b"/admin%E2%81%84users",
        b"/admin%E2%88%96users",
    ],
)
def test_odd_spellings_of_a_guarded_path_are_guarded_or_refused(path: bytes) -> None:
    passing = table(encoded_slash=Spelling.PASS, empty_segments=Spelling.PASS)
    for paths in (table(), passing):
        found = match(paths, "GET", path)
        if path.startswith(b"/x%2F"):
            assert paths is passing or isinstance(found, BadRequest)
        else:
            assert isinstance(found, BadRequest) or found.policy.scopes == ("admin",)  # type: ignore[union-attr]


@pytest.mark.parametrize("pattern", ["/caf\u00e9/*", "/cafe\u0301/*"])
@pytest.mark.parametrize("path", [b"/caf%C3%A9/x", b"/cafe%CC%81/x", b"/caf%E9/x"])
def test_a_character_is_the_same_in_each_of_its_encodings(pattern: str, path: bytes) -> None:
    """Composed, decomposed as macOS writes it, or a byte of Latin-1."""
    found = match(table(routes=(RoutePattern(pattern, (), RoutePolicy(scopes=("guests",))),)), "GET", path)
    assert isinstance(found, Match)
    assert found.policy.scopes == ("guests",)


def test_a_pattern_with_a_compatible_character_is_no_other() -> None:
    routes = (
        RoutePattern("/m\u00b2", (), RoutePolicy(scopes=("area",))),
        RoutePattern("/m2", (), RoutePolicy(scopes=("second",))),
    )
    assert table(routes=routes).match("crm", "GET", b"/m2").policy.scopes == ("second",)
    assert set(table(routes=routes).match("crm", "GET", b"/m%C2%B2").policy.scopes) == {"area", "second"}


def test_a_parameter_ends_at_a_slash_whatever_else_a_server_takes_for_one() -> None:
    passing = table(encoded_slash=Spelling.PASS, empty_segments=Spelling.PASS)
    for path in (b"/\\off%3Bx\\a", b"/%5Coff%3Bx%5Ca", b"/off;x%2Fa"):
        found = match(passing, "GET", path)
        assert isinstance(found, BadRequest) or not found.policy.enabled  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "path", [b"/admin%2Fusers", b"/a%5Cb", b"/a\\b", b"/a//b", b"/a%zz", b"/a%2", b"/%25252F", b"/.%20/x"]
)
def test_what_servers_read_differently_is_refused_where_there_are_routes(path: bytes) -> None:
    with pytest.raises(BadRequest):
        table().match("crm", "GET", path)


@pytest.mark.parametrize("path", [b"/a%2Fb", b"/a%5Cb", b"/a\\b", b"/a%zz", b"/a;b", b"/%25252F", b"/%2F%2f/x"])
def test_without_routes_a_path_passes_as_it_is(path: bytes) -> None:
    assert table(routes=()).match("crm", "GET", path).path == path


def test_without_routes_empty_segments_pass_where_the_service_says_so() -> None:
    with pytest.raises(BadRequest):
        table(routes=()).match("crm", "GET", b"/a//b")
    assert table(routes=(), empty_segments=Spelling.PASS).match("crm", "GET", b"/a//b").path == b"/a//b"
    with pytest.raises(BadRequest):
        table(routes=(), encoded_slash=Spelling.REFUSE).match("crm", "GET", b"/a%2Fb")


def test_a_trailing_slash_makes_no_difference_unless_the_service_says_so() -> None:
    for method in ("POST", "GET"):
        found = match(table(), method, b"/payments/")
        assert (found.code if isinstance(found, GatewayError) else found.pattern) == (
            "method_not_allowed" if method == "POST" else "/payments"
        )
    strict = table(trailing_slash=TrailingSlash.STRICT)
    assert strict.match("crm", "POST", b"/payments/").pattern == ""
    assert strict.match("crm", "GET", b"/admin/").pattern == "/admin/*"


def test_letters_are_compared_without_case_where_the_service_says_so() -> None:
    assert table().match("crm", "GET", b"/ADMIN/x").pattern == ""
    assert table(case_sensitive=False).match("crm", "GET", b"/AdM%49n/x").pattern == "/admin/*"
    assert table(case_sensitive=False).match("crm", "GET", b"/Ada/MAIL").params == (("user", "ada"),)


def test_encoded_slashes_are_data_where_the_service_passes_them() -> None:
    routes = (
        RoutePattern("/api/queues/{vhost}/{queue}"),
        RoutePattern("/sites/{site}/searchAnalytics/query", ("POST",)),
    )
    passing = table(routes=routes, encoded_slash=Spelling.PASS)
    found = passing.match("crm", "PUT", b"/api/queues/%2F/q")
    assert (found.path, found.pattern) == (b"/api/queues/%2F/q", "/api/queues/{vhost}/{queue}")
    assert found.params == (("vhost", "/"), ("queue", "q"))
    path = b"/sites/https%3A%2F%2Fexample.com%2F/searchAnalytics/query"
    found = passing.match("crm", "POST", path)
    assert (found.path, dict(found.params)["site"]) == (path, "https://example.com/")
    assert found.also == ("",)


def test_a_path_of_several_routes_gets_the_restrictions_of_all() -> None:
    routes = (
        RoutePattern(
            "/{page}",
            (),
            RoutePolicy(auth=Auth.NONE, cache=CachePolicy(tags=("page:{page}",)), headers=((b"x", b"y"),)),
        ),
        RoutePattern(
            "/admin/{id}", ("GET",), RoutePolicy(scopes=("admin",), cache=CachePolicy(ttl=5, tags=("admin:{id}",)))
        ),
    )
    found = table(routes=routes, encoded_slash=Spelling.PASS).match("crm", "GET", b"/admin%2F7")
    assert (found.pattern, found.also) == ("/{page}", ("/admin/{id}",))
    assert (found.policy.auth, found.policy.scopes, found.policy.headers) == (
        Auth.REQUIRED,
        ("admin",),
        ((b"x", b"y"),),
    )
    assert found.policy.cache == CachePolicy(ttl=5, tags=("page:{page}", "admin:{id}"))
    assert dict(found.params) == {"page": "admin/7", "id": "7"}
    again = table(routes=routes, encoded_slash=Spelling.PASS)
    assert again.match("crm", "GET", b"/admin%2F7").policy is again.match("crm", "GET", b"/admin%2F8").policy
    with pytest.raises(GatewayError):
        again.match("crm", "POST", b"/admin%2F7")


def test_the_literal_reading_comes_first() -> None:
    passing = PathPolicy(encoded_slash=Spelling.PASS)
    assert readings(b"/a%2Fb;c/", passing)[0] == ("a/b;c", "")
    assert readings(b"/", passing) == readings(b"/", PathPolicy()) == [()]


@pytest.mark.parametrize(
    ("path", "reading"),
    [
        (b"/a%253f/ad%256Din%3F", ("a?", "admin")),  # a query that is cut off between the two
        (b"/ad%256Din%3Bx%252Fy", ("admin",)),  # and a path parameter
        (b"/;v=1", ()),
    ],
)
def test_a_server_may_read_what_another_has_made_of_a_path(path: bytes, reading: Segments) -> None:
    assert reading in readings(path, PathPolicy())


def test_a_parameter_ends_at_a_slash_before_a_backslash_becomes_one() -> None:
    assert ("a", "b", "d") in readings(b"/a\\b;v=1\\c%252fd", PathPolicy(encoded_slash=Spelling.PASS))


@pytest.mark.parametrize(
    ("path", "same"),
    [
        (b"/a%62c", b"/abc"),
        (b"/%c3%bc", b"/\xc3\xbc"),
        (b"/%c3%bc", b"/%C3%BC"),
        (b"/a%2fb", b"/a%2Fb"),
        (b"/a/", b"/a"),
        (b"/", b""),
    ],
)
def test_spellings_of_one_resource_have_one_form(path: bytes, same: bytes) -> None:
    assert normalized(path, PathPolicy()) == normalized(same, PathPolicy())


@pytest.mark.parametrize(
    ("path", "other"), [(b"/a%2Fb", b"/a/b"), (b"/a;b", b"/a%3Bb"), (b"/A", b"/a"), (b"/a%252F", b"/a%2F")]
)
def test_different_resources_have_different_forms(path: bytes, other: bytes) -> None:
    assert normalized(path, PathPolicy()) != normalized(other, PathPolicy())


def test_the_form_follows_the_services_settings() -> None:
    assert normalized(b"/a/", PathPolicy(trailing_slash=TrailingSlash.STRICT)) == b"/a/"
    assert normalized(b"/%41%c3%9c", PathPolicy(case_sensitive=False)) == normalized(
        "/aü".encode(), PathPolicy(case_sensitive=False)
    )


HOSTILE: Final = (
    b"/" + b"a%2F;" * 3_200,
    b"/a;" * 5_000,
    b"/." + b". " * 8_000,
    b"/%ef%bd%81" * 1_600,
    b"/%2525" * 2_600,
    b"/a%3f%23%3b%5c." * 1_000,
    b"/a/" + b"%20" * 5_000 + b"x",
    b"/" + b"/a" * 8_000,
    b"/a." * 5_000,
    b"/a%ff" * 3_000,
)


@pytest.mark.parametrize("length", [8_191, 16_000])
@pytest.mark.parametrize("path", HOSTILE)
def test_a_long_path_takes_little_time(path: bytes, length: int) -> None:
    routes = tuple(
        RoutePattern("/" + "/".join(["{a}", "a"][place % 2] for place in range(depth + 1)), ()) for depth in range(20)
    )
    hostile = table(routes=routes, encoded_slash=Spelling.PASS, empty_segments=Spelling.PASS)
    assert milliseconds(lambda: match(hostile, "GET", path[:length]), 20) < 20
