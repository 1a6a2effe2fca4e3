from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.backend.head_cache import ResponseHeadCache
from routing.backend.response_parser import ResponseParser
from routing.errors import BadGateway
from routing.http import Headers

ANSWERS = (
    b"HTTP/1.1 200 OK\r\nX-A: \xff\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    b"HTTP/1.0 500 Oh\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\nuntil the end",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n\r\n",
)


def understood(parts: list[bytes], heads: ResponseHeadCache | None = None) -> tuple[int, Headers, bytes, bool]:
    reply = ResponseParser("GET", heads or ResponseHeadCache())
    for part in parts:
        reply.feed(part)
    if not reply.complete:
        reply.end()
    return reply.status, reply.headers, reply.take(), reply.reusable


@given(st.sampled_from(ANSWERS), st.sets(st.integers(1, 150)))
def test_it_makes_no_difference_where_the_network_cuts(answer: bytes, cuts: set[int]) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
    assert understood([answer[start:end] for start, end in pairwise(bounds)]) == understood([answer])


@given(st.binary(max_size=200), st.sampled_from(ANSWERS), st.integers(0, 60))
def test_whatever_comes_is_understood_or_a_bad_gateway(noise: bytes, answer: bytes, at: int) -> None:
    reply = ResponseParser("GET", ResponseHeadCache())
    try:
        reply.feed(answer[:at] + noise + answer[at:])
    except BadGateway:
        assert not reply.reusable


@given(st.lists(st.sampled_from(ANSWERS), max_size=8), st.sets(st.integers(1, 150)))
def test_a_head_that_came_before_makes_no_difference(answers: list[bytes], cuts: set[int]) -> None:
    heads = ResponseHeadCache()
    for answer in answers:
        assert understood([answer], heads) == understood([answer])
    for answer in ANSWERS:
        bounds = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
        assert understood([answer[start:end] for start, end in pairwise(bounds)], heads) == understood([answer])


def test_a_head_is_parsed_until_it_has_come_twice() -> None:
    heads = ResponseHeadCache()
    replies = [ResponseParser("GET", heads) for _ in range(3)]
    for reply in replies:
        reply.feed(ANSWERS[0])
    assert [reply.head is not None for reply in replies] == [False, False, True]
    assert {(reply.status, reply.take(), reply.reusable, reply.complete) for reply in replies} == {
        (200, b"hello", True, True)
    }


@pytest.mark.parametrize(
    ("method", "data"),
    [
        pytest.param("GET", ANSWERS[0] + b"HTTP/1.1 200 OK\r\n\r\n", id="an answer nobody asked for behind it"),
        pytest.param("GET", ANSWERS[0] + b"!", id="more than was said"),
        pytest.param("GET", ANSWERS[0][:-1], id="less than was said"),
        pytest.param("HEAD", ANSWERS[0], id="a body that must not be"),
    ],
)
def test_what_follows_a_known_head_is_judged_as_ever(method: str, data: bytes) -> None:
    heads = ResponseHeadCache()
    for _ in range(3):
        ResponseParser("GET", heads).feed(ANSWERS[0])
    outcomes = []
    for reply in (ResponseParser(method, heads), ResponseParser(method, ResponseHeadCache())):
        try:
            reply.feed(data)
        except BadGateway as error:
            outcomes.append(str(error))
        else:
            outcomes.append(str((reply.status, reply.take(), reply.complete, reply.complete and reply.reusable)))
    assert outcomes[0] == outcomes[1]


def test_nothing_is_taken_for_a_second_answer() -> None:
    heads = ResponseHeadCache()
    for _ in range(3):
        reply = ResponseParser("GET", heads)
        reply.feed(ANSWERS[0])
    reply.feed(ANSWERS[0])
    assert not reply.reusable
    assert reply.take() == b"hello"
