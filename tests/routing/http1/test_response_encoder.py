"""Answers as bytes: a client must know where each ends, whatever its status, method and version."""

import pytest

from routing.http1 import response_encoder
from routing.http1.response_encoder import ResponseEncoder

DATE = b"Wed, 25 Nov 2026 12:00:00 GMT"
LENGTH = (b"content-length", b"3")


def sent(encoder: ResponseEncoder, *pieces: bytes) -> bytes:
    return encoder.head(DATE) + b"".join(encoder.chunk(piece) for piece in pieces) + encoder.end()


def test_a_head_says_when_unless_the_answer_does() -> None:
    assert response_encoder.encode_head(200, [], DATE) == b"HTTP/1.1 200 OK\r\ndate: " + DATE + b"\r\n\r\n"
    assert response_encoder.encode_head(200, [(b"date", b"then")], DATE) == b"HTTP/1.1 200 OK\r\ndate: then\r\n\r\n"
    assert (
        response_encoder.encode_head(299, [(b"a", b"b"), (b"date", b"then")], DATE)
        == b"HTTP/1.1 299 \r\na: b\r\ndate: then\r\n\r\n"
    )


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"\r\n\r\nbody"])
def test_a_field_is_one_line(value: bytes) -> None:
    """RFC 9112 section 11.1."""
    with pytest.raises(ValueError, match="line break"):
        response_encoder.encode_head(200, [(b"a", value)], DATE)
    with pytest.raises(ValueError, match="line break"):
        response_encoder.encode_head(200, [(value, b"a")], DATE)


class TestWhole:
    @pytest.mark.parametrize("size", [0, 2, 4, 33])
    def test_it_is_as_long_as_it_says(self, size: int) -> None:
        response_encoder.encode_sized_head("GET", 200, [LENGTH], 3, DATE)
        with pytest.raises(ValueError, match="differs from"):
            response_encoder.encode_sized_head("GET", 200, [LENGTH], size, DATE)

    def test_it_says_so(self) -> None:
        for size in (0, 3):
            with pytest.raises(ValueError, match="differs from"):
                response_encoder.encode_sized_head("GET", 200, [], size, DATE)

    def test_what_has_no_body_may_tell_of_the_one_it_would_have(self) -> None:
        response_encoder.encode_sized_head("HEAD", 200, [LENGTH], 0, DATE)
        response_encoder.encode_sized_head("GET", 304, [LENGTH], 0, DATE)
        response_encoder.encode_sized_head("GET", 204, [], 0, DATE)


class TestStreams:
    def test_of_known_length(self) -> None:
        encoder = ResponseEncoder("GET", "1.1", 200, [LENGTH], keep_alive=True)
        assert sent(encoder, b"a", b"", b"bc").endswith(b"content-length: 3\r\ndate: " + DATE + b"\r\n\r\nabc")
        assert encoder.keep_alive

    def test_of_unknown_length_in_chunks(self) -> None:
        encoder = ResponseEncoder("GET", "1.1", 200, [], keep_alive=True)
        assert sent(encoder, b"ab", b"", b"c" * 16).endswith(b"\r\n\r\n2\r\nab\r\n10\r\ncccccccccccccccc\r\n0\r\n\r\n")
        assert encoder.keep_alive

    def test_of_unknown_length_to_http_1_0_until_the_connection_ends(self) -> None:
        encoder = ResponseEncoder("GET", "1.0", 200, [], keep_alive=True)
        assert sent(encoder, b"ab").endswith(b"connection: close\r\ndate: " + DATE + b"\r\n\r\nab")
        assert encoder.is_close_delimited
        assert not encoder.keep_alive

    def test_http_1_0_is_told_that_the_connection_stays(self) -> None:
        assert b"connection: keep-alive\r\n" in ResponseEncoder("GET", "1.0", 200, [LENGTH], keep_alive=True).head(DATE)

    @pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
    def test_what_has_no_body_sends_none_and_is_not_framed(self, method: str, status: int) -> None:
        encoder = ResponseEncoder(method, "1.1", status, [], keep_alive=True)
        assert sent(encoder, b"ab").endswith(b"\r\n\r\n")
        assert b"transfer-encoding" not in encoder.head(DATE)
        assert encoder.keep_alive

    def test_too_much_or_too_little_is_an_error(self) -> None:
        encoder = ResponseEncoder("GET", "1.1", 200, [LENGTH], keep_alive=True)
        encoder.chunk(b"ab")
        with pytest.raises(ValueError, match="shorter"):
            encoder.end()
        with pytest.raises(ValueError, match="longer"):
            encoder.chunk(b"cd")
