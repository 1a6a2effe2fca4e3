"""`POST /events` from outside: what is refused, and how much is too much."""

import http.client
import time
from contextlib import closing

import pytest
import requests

from tests.gateway_project.served import Served

MOST = 64 * 1_024
A_MINUTE = 6_000


def said(answer: requests.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def post(served: Served, body: bytes) -> requests.Response:
    return requests.post(f"{served.url}/events", body, headers={"X-API-Key": served.key}, timeout=20)


def filled(size: int) -> bytes:
    """An event of so many bytes."""
    head, tail = b'{"topic":"filled","type":"tick","data":"', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


def test_without_the_right_nothing_is_published(served: Served) -> None:
    assert said(requests.post(f"{served.url}/events", b"{}", timeout=20)) == (401, "unauthenticated")
    assert said(served.publish(1, served.poor)) == (403, "forbidden")
    assert said(served.publish(1, topic="service:nope")) == (403, "forbidden")


def test_an_event_may_have_64_kb_and_not_a_byte_more(served: Served) -> None:
    assert post(served, filled(MOST)).status_code == 202
    assert said(post(served, filled(MOST + 1))) == (413, "body_too_large")


def test_without_a_length_the_bound_is_the_same(served: Served) -> None:
    def sent(size: int) -> requests.Response:
        body, headers = filled(size), {"X-API-Key": served.key}
        pieces = (body[start : start + 8_192] for start in range(0, len(body), 8_192))
        return requests.post(f"{served.url}/events", pieces, headers=headers, timeout=20)

    assert sent(MOST).status_code == 202
    assert said(sent(MOST + 1)) == (413, "body_too_large")


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
def test_what_is_no_event_is_a_bad_request(served: Served, body: bytes) -> None:
    assert said(post(served, body)) == (400, "bad_request")


def test_events_are_read_for_topics_alone_and_only_read_and_published(served: Served) -> None:
    headers = {"X-API-Key": served.key}
    assert said(requests.get(f"{served.url}/events", headers=headers, timeout=20)) == (400, "bad_request")
    answer = requests.put(f"{served.url}/events", headers=headers, timeout=20)
    assert said(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


def test_over_the_limit_a_publisher_is_told_when_to_come_back(served: Served) -> None:
    """What is refused for another reason counts as well. A caller has its limit on all workers together, but for what
    the other worker has in hand of it: 1 %.
    """
    statuses: list[int] = []
    end = time.monotonic() + 120
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        while not statuses or statuses[-1] != 429:
            assert time.monotonic() < end
            connection.request("POST", "/events", b"{}", {"X-API-Key": served.greedy})
            answer = connection.getresponse()
            body = answer.read()
            statuses.append(answer.status)
    assert set(statuses[:-1]) == {403}
    assert len(statuses) > A_MINUTE * 0.99
    assert answer.headers["content-type"] == "application/problem+json"
    assert b'"rate_limited"' in body
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert served.publish(1).status_code == 202  # nobody else's
