from routing.http import Headers, Request
from routing.messages.cors import Cors


def request(method: str = "GET", *fields: tuple[bytes, bytes]) -> Request:
    headers: Headers = list(fields)
    return Request(method, b"/api/v1/crm/", b"", headers, "192.0.2.1")


APP = (b"origin", b"https://app.example.com")
ASKS = (b"access-control-request-method", b"PUT")


def test_without_origins_an_answer_says_nothing() -> None:
    assert Cors().fields(request("GET", APP)) == []


def test_an_allowed_origin_may_read_and_another_may_not() -> None:
    cors = Cors(("https://app.example.com",))
    assert (b"access-control-allow-origin", b"https://app.example.com") in cors.fields(request("GET", APP))
    assert cors.fields(request("GET", (b"origin", b"https://evil.example"))) == [(b"vary", b"Origin")]


def test_a_preflight_is_answered_here() -> None:
    answer = Cors(("https://app.example.com",)).preflight(
        request("OPTIONS", APP, ASKS, (b"access-control-request-headers", b"x-api-key"))
    )
    assert answer is not None
    assert answer.status == 204
    assert dict(answer.headers)[b"access-control-allow-headers"] == b"x-api-key"


def test_a_preflight_from_elsewhere_is_answered_without_leave() -> None:
    answer = Cors().preflight(request("OPTIONS", APP, ASKS))
    assert answer is not None
    assert answer.headers == []


def test_other_requests_are_no_preflights() -> None:
    assert Cors().preflight(request("OPTIONS", APP)) is None
    assert Cors().preflight(request("GET", APP, ASKS)) is None
