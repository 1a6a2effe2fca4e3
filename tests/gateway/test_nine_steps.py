"""The contract for a single request, step by step, through each entry point."""

import gc
import re

import pytest

from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.errors import GatewayError
from routing.router.policy import Auth, Fallback, RoutePolicy
from routing.router.table import RoutePattern
from tests.gateway.conftest import QUICK, World
from tests.origin import Peer


def ok(body: bytes = b'{"a":1}', *fields: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Type: application/json", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


# 1 request id


@pytest.mark.parametrize("request_id", ["abc.DEF-1_2", "a" * 128, "0", "..", "-"])
async def test_a_well_formed_request_id_is_kept_and_forwarded(world: World, request_id: str) -> None:
    origin = await world.serve(ok())
    response = await world.request("GET", "/api/v1/crm/x", [("X-Request-ID", request_id)])
    assert response.get("x-request-id") == request_id
    assert (b"x-request-id", request_id.encode()) in origin.requests[0].fields
    assert world.observer.requests[-1].request_id == request_id


@pytest.mark.parametrize("request_id", ["", "a b", "a" * 129, "é", "a/b"])
async def test_any_other_request_id_is_replaced(world: World, request_id: str) -> None:
    await world.serve(ok())
    response = await world.request("GET", "/api/v1/crm/x", [("X-Request-ID", request_id.encode("latin-1"))])
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", response.get("x-request-id") or ""
    )


# 2 rate limit


async def test_of_150_requests_exactly_100_pass(world: World) -> None:
    await world.serve(ok(), policy=RoutePolicy(timeout=QUICK, rate_limit=RatePolicy(100, 60)))
    responses = [await world.request("GET", "/api/v1/crm/x") for _ in range(150)]
    assert [response.status for response in responses].count(200) == 100
    refused = responses[-1]
    assert (refused.status, refused.json()["code"]) == (429, "rate_limited")
    assert refused.get("ratelimit-policy") == '"default";q=100;w=60'
    assert int(refused.get("retry-after") or 0) >= 1


async def test_each_caller_has_its_own_rate_limit(world: World) -> None:
    await world.serve(ok(), policy=RoutePolicy(timeout=QUICK, rate_limit=RatePolicy(1, 60)))
    assert (await world.request("GET", "/api/v1/crm/x")).status == 200
    assert (await world.request("GET", "/api/v1/crm/x")).status == 429
    assert (await world.request("GET", "/api/v1/crm/x", key=world.other_key)).status == 200


async def test_requests_with_varying_invalid_credentials_are_limited_by_address(world: World) -> None:
    await world.serve(ok(), policy=RoutePolicy(timeout=QUICK, rate_limit=RatePolicy(3, 60)))
    responses = [
        await world.request("GET", "/api/v1/crm/x", [("Authorization", f"Bearer junk{i}")], key="") for i in range(5)
    ]
    assert [response.status for response in responses] == [401, 401, 401, 429, 429]
    assert (await world.request("GET", "/api/v1/crm/x")).status == 200


# 3 authentication


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer nonsense")],
        [("Authorization", "Basic YTpi")],
        [("X-API-Key", "gw_nobody")],
        [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
    ],
)
async def test_a_request_without_a_valid_credential_does_not_reach_the_backend(
    world: World, headers: list[tuple[str, str]]
) -> None:
    origin = await world.serve(ok())
    response = await world.request("GET", "/api/v1/crm/x", headers, key="")
    assert (response.status, response.json()["code"]) == (401, "unauthenticated")
    assert response.get("www-authenticate") == 'Bearer realm="gateway"'
    assert origin.requests == []


async def test_an_api_key_may_be_sent_as_a_bearer_token(world: World) -> None:
    await world.serve(ok())
    assert (
        await world.request("GET", "/api/v1/crm/x", [("Authorization", f"bearer {world.key}")], key="")
    ).status == 200


async def test_the_backend_receives_the_caller_but_never_the_credential(world: World) -> None:
    origin = await world.serve(ok())
    await world.request("GET", "/api/v1/crm/x", [("X-Gateway-Caller", "key:forged"), ("X-Forwarded-For", "6.6.6.6")])
    fields = dict(origin.requests[0].fields)
    assert fields[b"x-gateway-caller"] == b"key:" + world.key.split("_")[1].encode()
    assert fields[b"x-forwarded-for"] == b"192.0.2.1"
    assert world.key.encode() not in origin.requests[0].head


async def test_a_service_may_require_no_authentication(world: World) -> None:
    await world.serve(ok(), policy=RoutePolicy(auth=Auth.NONE, timeout=QUICK))
    assert (await world.request("GET", "/api/v1/crm/x", key="")).status == 200


async def test_an_optional_credential_must_be_valid_if_present(world: World) -> None:
    await world.serve(ok(), policy=RoutePolicy(auth=Auth.OPTIONAL, timeout=QUICK))
    assert (await world.request("GET", "/api/v1/crm/x", key="")).status == 200
    assert (await world.request("GET", "/api/v1/crm/x", [("Authorization", "Bearer bad")], key="")).status == 401


# 4 service router


async def test_only_an_authenticated_caller_learns_that_a_service_is_unknown(world: World) -> None:
    authenticated, anonymous = (
        await world.request("GET", "/api/v1/nope/x"),
        await world.request("GET", "/api/v1/nope/x", key=""),
    )
    assert (authenticated.status, authenticated.json()["code"]) == (404, "unknown_service")
    assert anonymous.status == 401


async def test_a_caller_without_a_required_scope_is_forbidden(world: World) -> None:
    await world.serve(ok(), policy=RoutePolicy(scopes=("crm:admin",), timeout=QUICK))
    response = await world.request("GET", "/api/v1/crm/x")
    assert (response.status, response.json()["code"], response.json()["service"]) == (403, "forbidden", "crm")


async def test_a_method_of_no_route_is_not_allowed(world: World) -> None:
    await world.serve(ok(), routes=(RoutePattern("/x", ("GET",), RoutePolicy(timeout=QUICK)),))
    response = await world.request("PUT", "/api/v1/crm/x", body=[b"1"])
    assert (response.status, response.get("allow")) == (405, "GET, HEAD")


async def test_a_service_that_is_not_enabled_is_disabled(world: World) -> None:
    await world.serve(ok(), policy=RoutePolicy(enabled=False))
    response = await world.request("GET", "/api/v1/crm/x")
    assert (response.status, response.json()["code"]) == (503, "service_disabled")


async def test_a_service_is_reachable_under_its_own_host(world: World) -> None:
    origin = await world.serve(ok(), hosts=("crm.test",))
    assert (await world.request("GET", "/contacts?a=1", host="crm.test:8000")).status == 200
    assert origin.requests[0].line == b"GET /contacts?a=1 HTTP/1.1"


async def test_identical_response_heads_are_rewritten_for_the_url_of_each_request(world: World) -> None:
    redirect = ok(b"", b"Location: /there")
    await world.serve(redirect, hosts=("crm.test",), policy=RoutePolicy(timeout=QUICK, cache=None))
    for _ in range(4):
        by_path = await world.request("GET", "/api/v1/crm/x")
        by_host = await world.request("GET", "/x", host="crm.test:8000")
        assert (by_path.get("location"), by_host.get("location")) == ("/api/v1/crm/there", "/there")
        for response in (by_path, by_host):
            names = [name for name, _ in response.headers]
            assert sorted(names) == sorted(set(names))


async def test_the_list_of_services_names_those_the_caller_may_use(world: World) -> None:
    await world.serve(ok())
    await world.serve(ok(), name="secret", policy=RoutePolicy(scopes=("vault",)))
    response = await world.request("GET", "/api/v1/")
    assert [service["name"] for service in response.json()["services"]] == ["crm"]
    assert (await world.request("GET", "/api/v1/", key="")).status == 401


async def test_the_list_of_services_names_those_that_everybody_may_use(world: World) -> None:
    await world.serve(ok())
    await world.serve(ok(), name="open", policy=RoutePolicy(auth=Auth.NONE))
    await world.serve(ok(), name="optional", policy=RoutePolicy(auth=Auth.OPTIONAL))
    narrow = generate_api_key()
    world.live.keys = ApiKeys(
        [KeyRecord(prefix=narrow.prefix, digest=narrow.digest, name="narrow", scopes=frozenset({"elsewhere"}))]
    )
    response = await world.request("GET", "/api/v1/", key=narrow.key)
    assert [service["name"] for service in response.json()["services"]] == ["open"]
    paths = ("/api/v1/open/x", "/api/v1/optional/x")
    statuses = [(await world.request("GET", path, key=narrow.key)).status for path in paths]
    assert statuses == [200, 403]


# 5 cache check, 8 store


async def test_a_miss_then_a_hit(world: World) -> None:
    origin = await world.serve(ok(b'{"n":1}', b"X-Kind: caf\xe9"))
    first, second = await world.request("GET", "/api/v1/crm/x"), await world.request("GET", "/api/v1/crm/x")
    assert (first.get("x-cache"), second.get("x-cache")) == ("MISS", "HIT")
    assert re.fullmatch("gateway; fwd=uri-miss; stored; ttl=(300|299)", first.get("cache-status") or "")
    assert (second.get("cache-status") or "").startswith("gateway; hit; ttl=")
    assert second.get("age") == "0"
    assert (first.body, first.get("x-kind")) == (second.body, second.get("x-kind"))
    assert len(origin.requests) == 1


async def test_two_callers_never_see_each_others_response(world: World) -> None:
    await world.serve(ok(b'"ours"'), ok(b'"theirs"'))
    assert (await world.request("GET", "/api/v1/crm/x")).body == b'"ours"'
    theirs = await world.request("GET", "/api/v1/crm/x", key=world.other_key)
    assert (theirs.body, theirs.get("x-cache")) == (b'"theirs"', "MISS")
    assert (await world.request("GET", "/api/v1/crm/x")).body == b'"ours"'


async def test_a_cookie_that_the_backend_may_use_selects_another_cache_entry(world: World) -> None:
    origin = await world.serve(ok())
    await world.request("GET", "/api/v1/crm/x", [("Cookie", "user=a")])
    assert (await world.request("GET", "/api/v1/crm/x", [("Cookie", "user=b")])).get("x-cache") == "MISS"
    assert len(origin.requests) == 2


async def test_the_responses_of_a_shared_route_are_shared(world: World) -> None:
    policy = RoutePolicy(timeout=QUICK, cache=CachePolicy(scope=Scope.SHARED))
    await world.serve(ok(), policy=policy)
    await world.request("GET", "/api/v1/crm/x")
    assert (await world.request("GET", "/api/v1/crm/x", key=world.other_key)).get("x-cache") == "HIT"


@pytest.mark.parametrize("field", [b"Cache-Control: no-store", b"Cache-Control: private", b"Set-Cookie: a=1"])
async def test_a_response_that_forbids_storing_is_not_stored(world: World, field: bytes) -> None:
    await world.serve(ok(b"1", field))
    await world.request("GET", "/api/v1/crm/x")
    assert (await world.request("GET", "/api/v1/crm/x")).get("x-cache") == "MISS"


async def test_a_head_request_is_served_from_a_stored_get(world: World) -> None:
    await world.serve(ok(b'{"a":1}'))
    await world.request("GET", "/api/v1/crm/x")
    head = await world.request("HEAD", "/api/v1/crm/x")
    assert (head.get("x-cache"), head.get("content-length"), head.body) == ("HIT", "7", b"")


async def test_a_write_invalidates_the_tags_of_its_route(world: World) -> None:
    reads = RoutePattern("/m/{user}", ("GET",), RoutePolicy(timeout=QUICK, cache=CachePolicy(tags=("mailbox:{user}",))))
    writes = RoutePattern("/m/{user}", ("POST",), RoutePolicy(timeout=QUICK, invalidates=("mailbox:{user}",)))
    await world.serve(ok(), routes=(reads, writes))
    for user in "ab":
        await world.request("GET", f"/api/v1/crm/m/{user}")
    await world.request("POST", "/api/v1/crm/m/a", body=[b"1"])
    assert (await world.request("GET", "/api/v1/crm/m/a")).get("x-cache") == "MISS"
    assert (await world.request("GET", "/api/v1/crm/m/b")).get("x-cache") == "HIT"


async def test_other_methods_bypass_the_cache(world: World) -> None:
    await world.serve(ok())
    assert (await world.request("POST", "/api/v1/crm/x", body=[b"1"])).get("x-cache") == "BYPASS"


async def test_an_entry_expires_at_the_end_of_its_lifetime(world: World) -> None:
    await world.serve(ok(b"1", b"Cache-Control: max-age=10"))
    await world.request("GET", "/api/v1/crm/x")
    world.clock.advance(10)
    assert (await world.request("GET", "/api/v1/crm/x")).get("x-cache") == "MISS"


# 6 circuit breaker

FAILING = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops"


async def test_five_failures_open_the_circuit_and_two_successes_close_it(world: World) -> None:
    origin = await world.serve(*[FAILING] * 5, ok(), policy=RoutePolicy(timeout=QUICK, cache=None))
    assert [(await world.request("GET", "/api/v1/crm/x")).status for _ in range(5)] == [500] * 5
    sixth = await world.request("GET", "/api/v1/crm/x")
    assert (sixth.status, sixth.json()["code"], sixth.get("x-circuit-state")) == (503, "circuit_open", "OPEN")
    assert 1 <= int(sixth.get("retry-after") or 0) <= 60
    assert len(origin.requests) == 5
    world.clock.advance(60)
    probe = await world.request("GET", "/api/v1/crm/x")
    assert (probe.status, probe.get("x-circuit-state")) == (200, "HALF_OPEN")
    assert (await world.request("GET", "/api/v1/crm/x")).status == 200
    assert (await world.request("GET", "/api/v1/crm/x")).get("x-circuit-state") is None
    assert [after for _, _, after in world.observer.circuits] == ["OPEN", "HALF_OPEN", "CLOSED"]


async def test_with_an_open_circuit_a_caller_gets_its_own_stale_response(world: World) -> None:
    policy = RoutePolicy(timeout=QUICK, breaker=BreakerPolicy(failure_threshold=1))
    await world.serve(ok(b"1", b"Cache-Control: max-age=10"), FAILING, policy=policy)
    await world.request("GET", "/api/v1/crm/x")
    world.clock.advance(11)
    await world.request("GET", "/api/v1/crm/y")
    stale = await world.request("GET", "/api/v1/crm/x")
    assert (stale.status, stale.get("x-cache"), stale.get("age"), stale.body) == (200, "STALE", "11", b"1")
    assert (await world.request("GET", "/api/v1/crm/x", key=world.other_key)).status == 503


async def test_with_an_open_circuit_and_nothing_stored_the_fallback_is_returned(world: World) -> None:
    policy = RoutePolicy(
        timeout=QUICK, breaker=BreakerPolicy(failure_threshold=1), fallback=Fallback(body={"items": []})
    )
    await world.serve(FAILING, policy=policy)
    await world.request("GET", "/api/v1/crm/x")
    response = await world.request("GET", "/api/v1/crm/x")
    assert (response.status, response.json(), response.get("x-circuit-state")) == (200, {"items": []}, "OPEN")


async def test_client_errors_do_not_count_as_failures(world: World) -> None:
    await world.serve(
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", policy=RoutePolicy(timeout=QUICK, cache=None)
    )
    assert {(await world.request("GET", "/api/v1/crm/x")).status for _ in range(8)} == {404}


# 7 backend call


async def test_path_and_query_are_forwarded_byte_for_byte(world: World) -> None:
    origin = await world.serve(ok())
    await world.request("GET", b"/api/v1/crm/a%2Fb;v=1/%C3%BC?q=%2B+x&&y")
    assert origin.requests[0].line == b"GET /a%2Fb;v=1/%C3%BC?q=%2B+x&&y HTTP/1.1"


async def test_repeated_cookies_and_non_ascii_bytes_are_returned_unchanged(world: World) -> None:
    await world.serve(ok(b"1", b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"X-Name: \xff\xfe"))
    response = await world.request("GET", "/api/v1/crm/x")
    assert response.all("set-cookie") == ["a=1", "b=2"]
    assert response.get("x-name") == "\xff\xfe"


async def test_a_redirect_within_the_target_is_rewritten_to_the_gateway(world: World) -> None:
    origin = await world.serve(b"")
    origin._scripts = [
        b"HTTP/1.1 302 Found\r\nLocation: %s/login?a=1\r\nContent-Length: 0\r\n\r\n" % origin.url.encode()
    ]
    assert (await world.request("GET", "/api/v1/crm/x")).get("location") == "/api/v1/crm/login?a=1"


async def test_the_link_to_the_next_page_stays_absolute(world: World) -> None:
    """Most clients of GitHub add a path to the address that they are configured with."""
    origin = await world.serve(b"")
    origin._scripts = [ok(b"1", b'Link: <%s/items?page=2>; rel="next", </items>; rel="first"' % origin.url.encode())]
    for cached in ("MISS", "HIT"):
        response = await world.request("GET", "/api/v1/crm/items")
        link = '<http://gateway.test/api/v1/crm/items?page=2>; rel="next", </api/v1/crm/items>; rel="first"'
        assert (response.get("x-cache"), response.get("link")) == (cached, link)


@pytest.mark.parametrize("status", [b"200 OK", b"201 Created"])
async def test_the_location_of_an_upload_stays_absolute(world: World, status: bytes) -> None:
    """Google's clients request it as it is."""
    origin = await world.serve(b"")
    location = b"Location: %s/upload?upload_id=1" % origin.url.encode()
    origin._scripts = [ok(b"1"), b"HTTP/1.1 %b\r\n%b\r\nContent-Length: 0\r\n\r\n" % (status, location), ok(b"2")]
    upload = "/api/v1/crm/upload?upload_id=1"
    await world.request("GET", upload)
    created = await world.request("POST", "/api/v1/crm/upload")
    assert created.get("location") == f"http://gateway.test{upload}"
    assert (await world.request("GET", upload)).body == b"2"  # invalidated: RFC 9111 section 4.4


@pytest.mark.parametrize("length", [True, False])
async def test_a_request_body_is_forwarded(world: World, length: bool) -> None:
    origin = await world.serve(ok())
    response = await world.request("POST", "/api/v1/crm/x", body=[b"ab", b"c"], length=length)
    assert (response.status, origin.requests[0].body) == (200, b"abc")


@pytest.mark.parametrize("length", [True, False])
async def test_a_request_body_over_the_limit_is_rejected(world: World, length: bool) -> None:
    await world.serve(ok())
    response = await world.request("POST", "/api/v1/crm/x", body=[b"a" * 600, b"b" * 600], length=length)
    assert (response.status, response.json()["code"]) == (413, "body_too_large")


async def test_a_refused_connection_is_a_bad_gateway_without_an_address(world: World) -> None:
    origin = await world.serve(ok())
    await origin.__aexit__()
    response = await world.request("GET", "/api/v1/crm/x")
    assert (response.status, response.json()["code"], response.json()["service"]) == (502, "bad_gateway", "crm")
    assert str(origin.port).encode() not in response.body


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # Django leaves the file of its upload open
async def test_a_response_body_aborted_by_the_backend_is_aborted_for_the_client(world: World) -> None:
    async def send_half_and_close(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        peer.close()

    await world.serve(send_half_and_close)
    with pytest.raises(GatewayError):
        await world.request("GET", "/api/v1/crm/x")
    assert world.observer.requests[-1].aborted == "bad_gateway"
    gc.collect()


async def test_chunks_are_relayed_as_they_arrive(world: World) -> None:
    async def send_chunks(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.send(b"1\r\nb\r\n0\r\n\r\n")

    await world.serve(send_chunks)
    response = await world.request("GET", "/api/v1/crm/x")
    assert (response.body, response.get("transfer-encoding"), response.complete) == (b"ab", None, True)


# 9 return


async def test_a_response_has_a_server_timing_field(world: World) -> None:
    await world.serve(ok())
    response = await world.request("GET", "/api/v1/crm/x")
    assert re.fullmatch(r"gateway;dur=[0-9.]+, backend;dur=[0-9.]+", response.get("server-timing") or "")


async def test_only_a_caller_with_the_debug_scope_sees_the_steps(world: World) -> None:
    await world.serve(ok())
    debug = [("X-Gateway-Debug", "1")]
    assert "service-router" in ((await world.request("GET", "/api/v1/crm/x", debug)).get("x-gateway-debug") or "")
    assert (await world.request("GET", "/api/v1/crm/x", debug, key=world.other_key)).get("x-gateway-debug") is None


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_key_with_the_debug_scope_sees_the_steps_of_a_service_without_authentication(
    world: World, method: str
) -> None:
    origin = await world.serve(ok(), policy=RoutePolicy(auth=Auth.NONE))
    seen = []
    for key in (world.key, world.other_key, "gw_aaaaaaaa_wrong", ""):
        response = await world.request(method, "/api/v1/crm/x", [("X-Gateway-Debug", "1")], key=key)
        assert response.status == 200
        seen.append("circuit-breaker" in (response.get("x-gateway-debug") or ""))
    assert seen == [True, False, False, False]
    assert all(b"x-gateway-caller" not in dict(request.fields) for request in origin.requests)


async def test_an_error_is_a_problem_document(world: World) -> None:
    response = await world.request("GET", "/api/v1/nope/x", [("X-Request-ID", "r1")])
    document = response.json()
    assert response.get("content-type") == "application/problem+json"
    assert set(document) >= {"type", "title", "status", "detail", "code", "request_id"}
    assert (document["status"], document["request_id"]) == (404, "r1")


@pytest.mark.parametrize("path", ["/api/v1/crm/../x", "/api/v1/crm/%2e%2e/x", "/api/v1/crm//x", "/api/v1/crm/%00"])
async def test_an_ambiguous_path_is_rejected(world: World, path: str) -> None:
    origin = await world.serve(ok())
    response = await world.request("GET", path)
    assert (response.status, response.json()["code"]) == (400, "bad_request")
    assert origin.requests == []


async def test_header_fields_of_64_kb_are_rejected(world: World) -> None:
    await world.serve(ok())
    response = await world.request("GET", "/api/v1/crm/x", [("X-Big", "a" * 65_536)])
    assert (response.status, response.json()["code"]) == (431, "headers_too_large")
