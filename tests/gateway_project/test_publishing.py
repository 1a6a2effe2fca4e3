"""`POST /events` from a client's side: errors and limits."""

import http.client
import time
from contextlib import closing

import pytest
import requests

from tests.gateway_project.served import Served

MAX_BYTES = 64 * 1_024
PER_MINUTE = 6_000


def problem(response: requests.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def post(served: Served, body: bytes) -> requests.Response:
    return requests.post(f"{served.url}/events", body, headers={"X-API-Key": served.key}, timeout=20)


def event(size: int) -> bytes:
    """An event of `size` bytes."""
    head, tail = b'{"topic":"event","type":"tick","data":"', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


def test_publishing_requires_permission(served: Served) -> None:
    assert problem(requests.post(f"{served.url}/events", b"{}", timeout=20)) == (401, "unauthenticated")
    assert problem(served.publish(1, served.unprivileged_key)) == (403, "forbidden")
    assert problem(served.publish(1, topic="service:nope")) == (403, "forbidden")


def test_an_event_may_have_up_to_64_kb(served: Served) -> None:
    assert post(served, event(MAX_BYTES)).status_code == 202
    assert problem(post(served, event(MAX_BYTES + 1))) == (413, "body_too_large")


def test_the_limit_is_the_same_without_content_length(served: Served) -> None:
    def post_chunked(size: int) -> requests.Response:
        body, headers = event(size), {"X-API-Key": served.key}
        chunks = (body[start : start + 8_192] for start in range(0, len(body), 8_192))
        return requests.post(f"{served.url}/events", chunks, headers=headers, timeout=20)

    assert post_chunked(MAX_BYTES).status_code == 202
    assert problem(post_chunked(MAX_BYTES + 1)) == (413, "body_too_large")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"topic":"a","type":"b","data":',
        b'["topic"]',
        b'{"type":"tick"}',
        b'{"topic":"news"}',
        b'{"topic":"","type":"tick"}',
        b'{"topic":7,"type":"tick"}',
        b'{"topic":"news","type":"two words"}',
        b'{"topic":"news","type":"circuit"}',
        b'{"topic":"news","type":"tick","more":1}',
        b'{"topic":"news","type":"tick","data":"\xff"}',
        b'{"topic":"' + b"x" * 501 + b'","type":"tick"}',
    ],
)
def test_an_invalid_event_is_a_bad_request(served: Served, body: bytes) -> None:
    assert problem(post(served, body)) == (400, "bad_request")


def test_get_requires_topics_and_other_methods_are_not_allowed(served: Served) -> None:
    headers = {"X-API-Key": served.key}
    assert problem(requests.get(f"{served.url}/events", headers=headers, timeout=20)) == (400, "bad_request")
    response = requests.put(f"{served.url}/events", headers=headers, timeout=20)
    assert problem(response) == (405, "method_not_allowed")
    assert response.headers["allow"] == "GET, POST"


def test_a_publisher_over_its_rate_limit_receives_retry_after(served: Served) -> None:
    """Requests refused for other reasons count too. The limit holds across workers, except for the share that the other
    worker has reserved: 1 %.
    """
    statuses: list[int] = []
    end = time.monotonic() + 120
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        while not statuses or statuses[-1] != 429:
            assert time.monotonic() < end
            connection.request("POST", "/events", b"{}", {"X-API-Key": served.limited_key})
            response = connection.getresponse()
            body = response.read()
            statuses.append(response.status)
    assert set(statuses[:-1]) == {403}
    assert len(statuses) > PER_MINUTE * 0.99
    assert response.headers["content-type"] == "application/problem+json"
    assert b'"rate_limited"' in body
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert served.publish(1).status_code == 202  # of another caller
