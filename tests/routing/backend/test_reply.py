from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from routing.backend.reply import Reply
from routing.errors import BadGateway
from routing.http import Headers

ANSWERS = (
    b"HTTP/1.1 200 OK\r\nX-A: \xff\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    b"HTTP/1.0 500 Oh\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\nuntil the end",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n\r\n",
)


def understood(parts: list[bytes]) -> tuple[int, Headers, bytes, bool]:
    reply = Reply("GET")
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
    reply = Reply("GET")
    try:
        reply.feed(answer[:at] + noise + answer[at:])
    except BadGateway:
        assert not reply.reusable
