import pytest

from routing.http import Headers, Request
from routing.messages.cors import Cors, CorsPolicy, is_preflight, preflight_response


def request(method: str = "GET", *fields: tuple[bytes, bytes]) -> Request:
    headers: Headers = list(fields)
    return Request(method, b"/api/v1/crm/", b"", headers, "192.0.2.1")


APP = (b"origin", b"https://app.example.com")
EVIL = (b"origin", b"https://evil.example")
REQUEST_METHOD = (b"access-control-request-method", b"PUT")
REQUEST_HEADERS = (b"access-control-request-headers", b"x-api-key")


def cors_of(origins: tuple[str, ...] = ("https://app.example.com",), **settings: object) -> Cors:
    cors = Cors.of(CorsPolicy(origins=origins, **settings), ())  # type: ignore[arg-type]
    assert cors is not None
    return cors


def fields(cors: Cors, sent: Request, response: Headers | None = None) -> list[tuple[bytes, bytes]]:
    headers = list(response or ())
    cors.add_fields(sent, headers)
    return headers


def preflight(cors: Cors | None, *more: tuple[bytes, bytes]) -> Headers:
    response = preflight_response(request("OPTIONS", APP, REQUEST_METHOD, *more), cors)
    assert response.status == 204
    return response.headers


def test_without_configured_origins_there_are_no_cors_fields() -> None:
    assert Cors.of(None, ()) is None
    assert Cors.of(CorsPolicy(origins=()), ("https://app.example.com",)) is None


def test_an_allowed_origin_may_read_responses_and_another_may_not() -> None:
    cors = cors_of()
    assert (b"access-control-allow-origin", b"https://app.example.com") in fields(cors, request("GET", APP))
    assert fields(cors, request("GET", EVIL)) == [(b"vary", b"Origin")]


def test_the_gateway_responds_to_a_preflight() -> None:
    headers = preflight(cors_of(), REQUEST_HEADERS)
    assert dict(headers)[b"access-control-allow-headers"] == b"x-api-key"


def test_a_preflight_of_another_origin_is_not_allowed() -> None:
    assert preflight(None) == []
    assert preflight(cors_of(("https://other.example",))) == []


def test_other_requests_are_not_preflights() -> None:
    assert is_preflight(request("OPTIONS", APP, REQUEST_METHOD))
    assert not is_preflight(request("OPTIONS", APP))
    assert not is_preflight(request("OPTIONS", REQUEST_METHOD))
    assert not is_preflight(request("GET", APP, REQUEST_METHOD))


def test_a_preflight_lists_what_the_policy_allows() -> None:
    cors = cors_of(methods=("GET", "POST"), headers=("x-api-key", "content-type"), max_age=60.0)
    assert dict(preflight(cors, REQUEST_HEADERS)) == {
        b"access-control-allow-methods": b"GET, POST",
        b"access-control-allow-headers": b"x-api-key, content-type",
        b"access-control-max-age": b"60",
    }


def test_any_origin_gets_a_response_that_all_can_share() -> None:
    headers = dict(fields(cors_of(("*",)), request("GET", EVIL)))
    assert headers[b"access-control-allow-origin"] == b"*"
    assert b"vary" not in headers
    assert headers == dict(fields(cors_of(("*",)), request("GET")))


def test_credentials_are_for_listed_origins_only() -> None:
    cors = cors_of(credentials=True)
    assert (b"access-control-allow-credentials", b"true") in fields(cors, request("GET", APP))
    assert fields(cors, request("GET", EVIL)) == [(b"vary", b"Origin")]


@pytest.mark.parametrize("origin", ["*", "null"])
def test_credentials_are_refused_for_origins_that_anybody_can_have(origin: str) -> None:
    with pytest.raises(ValueError, match="credentials cannot be combined"):
        CorsPolicy(origins=(origin,), credentials=True)
    inherited = Cors.of(CorsPolicy(credentials=True), (origin,))
    assert inherited is not None
    assert b"access-control-allow-credentials" not in dict(fields(inherited, request("GET", (b"origin", b"null"))))


def test_the_backends_exposed_fields_are_added_to_the_gateways() -> None:
    headers = fields(
        cors_of(expose=("x-total",)), request("GET", APP), [(b"access-control-expose-headers", b"X-Page, X-Next")]
    )
    [exposed] = [value for name, value in headers if name == b"access-control-expose-headers"]
    assert {b"X-Request-ID", b"RateLimit", b"Retry-After", b"X-Cache", b"x-total", b"X-Page", b"X-Next"} <= set(
        exposed.split(b", ")
    )


@pytest.mark.parametrize("vary", [b"Origin", b"accept, ORIGIN", b"*"])
def test_vary_names_the_origin_once(vary: bytes) -> None:
    headers = fields(cors_of(), request("GET", EVIL), [(b"vary", vary)])
    assert [value for name, value in headers if name == b"vary"] == [vary]
