from routing.http import Headers, Request
from routing.messages.cors import Cors


def request(method: str = "GET", *fields: tuple[bytes, bytes]) -> Request:
    headers: Headers = list(fields)
    return Request(method, b"/api/v1/crm/", b"", headers, "192.0.2.1")


APP = (b"origin", b"https://app.example.com")
REQUEST_METHOD = (b"access-control-request-method", b"PUT")


def test_without_configured_origins_there_are_no_cors_fields() -> None:
    assert Cors().fields(request("GET", APP)) == []


def test_an_allowed_origin_may_read_responses_and_another_may_not() -> None:
    cors = Cors(("https://app.example.com",))
    assert (b"access-control-allow-origin", b"https://app.example.com") in cors.fields(request("GET", APP))
    assert cors.fields(request("GET", (b"origin", b"https://evil.example"))) == [(b"vary", b"Origin")]


def test_the_gateway_responds_to_a_preflight() -> None:
    response = Cors(("https://app.example.com",)).preflight(
        request("OPTIONS", APP, REQUEST_METHOD, (b"access-control-request-headers", b"x-api-key"))
    )
    assert response is not None
    assert response.status == 204
    assert dict(response.headers)[b"access-control-allow-headers"] == b"x-api-key"


def test_a_preflight_of_another_origin_is_not_allowed() -> None:
    response = Cors().preflight(request("OPTIONS", APP, REQUEST_METHOD))
    assert response is not None
    assert response.headers == []


def test_other_requests_are_not_preflights() -> None:
    assert Cors().preflight(request("OPTIONS", APP)) is None
    assert Cors().preflight(request("GET", APP, REQUEST_METHOD)) is None
