"""Encoded responses: a client must know where each ends, whatever its status, method and version."""

import pytest

from routing.http1 import response_encoder
from routing.http1.response_encoder import ResponseEncoder

DATE = b"Wed, 25 Nov 2026 12:00:00 GMT"
LENGTH = (b"content-length", b"3")


def encode(encoder: ResponseEncoder, *chunks: bytes) -> bytes:
    return encoder.head(DATE) + b"".join(encoder.chunk(chunk) for chunk in chunks) + encoder.end()


def test_a_date_is_added_unless_the_response_has_one() -> None:
    assert response_encoder.encode_head(200, [], DATE) == b"HTTP/1.1 200 OK\r\ndate: " + DATE + b"\r\n\r\n"
    assert response_encoder.encode_head(200, [(b"date", b"then")], DATE) == b"HTTP/1.1 200 OK\r\ndate: then\r\n\r\n"
    assert (
        response_encoder.encode_head(299, [(b"a", b"b"), (b"date", b"then")], DATE)
        == b"HTTP/1.1 299 \r\na: b\r\ndate: then\r\n\r\n"
    )


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"\r\n\r\nbody"])
def test_a_field_with_a_line_break_is_refused(value: bytes) -> None:
    """RFC 9112 section 11.1."""
    with pytest.raises(ValueError, match="line break"):
        response_encoder.encode_head(200, [(b"a", value)], DATE)
    with pytest.raises(ValueError, match="line break"):
        response_encoder.encode_head(200, [(value, b"a")], DATE)


class TestSizedHeads:
    @pytest.mark.parametrize("size", [0, 2, 4, 33])
    def test_content_length_must_match_the_body(self, size: int) -> None:
        response_encoder.encode_sized_head("GET", 200, [LENGTH], 3, DATE)
        with pytest.raises(ValueError, match="differs from"):
            response_encoder.encode_sized_head("GET", 200, [LENGTH], size, DATE)

    def test_content_length_must_be_there(self) -> None:
        for size in (0, 3):
            with pytest.raises(ValueError, match="differs from"):
                response_encoder.encode_sized_head("GET", 200, [], size, DATE)

    def test_a_response_without_a_body_may_have_a_content_length(self) -> None:
        response_encoder.encode_sized_head("HEAD", 200, [LENGTH], 0, DATE)
        response_encoder.encode_sized_head("GET", 304, [LENGTH], 0, DATE)
        response_encoder.encode_sized_head("GET", 204, [], 0, DATE)


class TestStreams:
    def test_a_body_of_known_length(self) -> None:
        encoder = ResponseEncoder("GET", "1.1", 200, [LENGTH], keep_alive=True)
        assert encode(encoder, b"a", b"", b"bc").endswith(b"content-length: 3\r\ndate: " + DATE + b"\r\n\r\nabc")
        assert encoder.keep_alive

    def test_a_body_of_unknown_length_is_chunked(self) -> None:
        encoder = ResponseEncoder("GET", "1.1", 200, [], keep_alive=True)
        assert encode(encoder, b"ab", b"", b"c" * 16).endswith(
            b"\r\n\r\n2\r\nab\r\n10\r\ncccccccccccccccc\r\n0\r\n\r\n"
        )
        assert encoder.keep_alive

    def test_a_body_of_unknown_length_is_close_delimited_for_http_1_0(self) -> None:
        encoder = ResponseEncoder("GET", "1.0", 200, [], keep_alive=True)
        assert encode(encoder, b"ab").endswith(b"connection: close\r\ndate: " + DATE + b"\r\n\r\nab")
        assert encoder.is_close_delimited
        assert not encoder.keep_alive

    def test_http_1_0_is_sent_keep_alive(self) -> None:
        assert b"connection: keep-alive\r\n" in ResponseEncoder("GET", "1.0", 200, [LENGTH], keep_alive=True).head(DATE)

    @pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
    def test_a_response_without_a_body_sends_none_and_has_no_framing(self, method: str, status: int) -> None:
        encoder = ResponseEncoder(method, "1.1", status, [], keep_alive=True)
        assert encode(encoder, b"ab").endswith(b"\r\n\r\n")
        assert b"transfer-encoding" not in encoder.head(DATE)
        assert encoder.keep_alive

    def test_a_body_shorter_or_longer_than_content_length_is_an_error(self) -> None:
        encoder = ResponseEncoder("GET", "1.1", 200, [LENGTH], keep_alive=True)
        encoder.chunk(b"ab")
        with pytest.raises(ValueError, match="shorter"):
            encoder.end()
        with pytest.raises(ValueError, match="longer"):
            encoder.chunk(b"cd")
