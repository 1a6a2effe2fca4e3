"""Vary: several responses of one URI (RFC 9111 section 4.1)."""

import msgspec
import pytest

from resilience.cache import variants
from resilience.cache.entry import Entry, all_tags, decode, encode
from resilience.cache.fields import MAX_TAGS
from resilience.cache.messages import CacheRequest
from resilience.cache.variants import merge_variant, select
from tests.resilience.cache.messages import NOW, Headers, entry, pairs


def response(headers: Headers, vary: str | None = "accept-language", body: bytes = b"", **others: str) -> Entry:
    fields = pairs(**others) if vary is None else [*pairs(**others), (b"vary", vary.encode())]
    return entry(fields, CacheRequest("GET", headers, authenticated=True), body=body)


def put(stored: Entry | None, headers: Headers, vary: str | None = "accept-language", body: bytes = b"") -> Entry:
    return merge_variant(response(headers, vary, body), stored, headers, NOW)


DE, FR, EN = pairs(accept_language="de"), pairs(accept_language="fr"), pairs(accept_language="en")


def body(stored: Entry, headers: Headers) -> bytes | None:
    selected = select(stored, headers)
    return None if selected is None else selected.body


def test_each_request_gets_its_variant() -> None:
    stored = put(put(None, DE, body=b"de"), FR, body=b"fr")
    assert [body(stored, headers) for headers in (DE, FR, EN, [])] == [b"de", b"fr", None, None]


@pytest.mark.parametrize(
    ("vary", "one", "other", "same"),
    [
        ("accept", {"accept": "a"}, {"accept": "a"}, True),
        ("accept", {"accept": "a"}, {"accept": "b"}, False),
        ("Accept", {"accept": "a"}, {"accept": "b"}, False),
        ("accept", {"accept": "a"}, {}, False),
        ("accept", {}, {}, True),
        ("accept", {"accept": ""}, {}, False),
        ("accept", {"accept": "a, b"}, {"accept": "a,  b"}, True),
        ("accept", {"accept": " a"}, {"accept": "a "}, True),
        ("accept", {"accept": "a, b"}, {"accept": "b, a"}, False),
        ("accept", {"accept": "a", "x_o": "1"}, {"accept": "a", "x_o": "2"}, True),
        ("accept, x-o", {"accept": "a", "x_o": "1"}, {"accept": "a", "x_o": "2"}, False),
        ("x-o,accept", {"accept": "a", "x_o": "1"}, {"accept": "a", "x_o": "1"}, True),
        (" accept ,, x-o ", {"x_o": "1"}, {"x_o": "2"}, False),
        ("accept-encoding", {"accept_encoding": "gzip"}, {"accept_encoding": "br"}, False),
        ("cookie", {"cookie": "a=1"}, {"cookie": "a=2"}, False),
        ("authorization", {"authorization": "Bearer a"}, {"authorization": "Bearer b"}, False),
    ],
)
def test_which_requests_share_a_variant(vary: str, one: dict[str, str], other: dict[str, str], same: bool) -> None:
    stored = put(None, pairs(**one), vary)
    assert (select(stored, pairs(**other)) is not None) is same


def test_lines_of_a_field_are_one_value() -> None:
    stored = put(None, pairs(accept="a,b"), "accept")
    assert select(stored, [(b"accept", b"a"), (b"accept", b"b")]) is not None


def test_a_newer_response_replaces_the_same_variant() -> None:
    stored = put(put(put(None, DE, body=b"1"), FR, body=b"2"), DE, body=b"3")
    assert (body(stored, DE), body(stored, FR), len(stored.others)) == (b"3", b"2", 1)


def test_a_response_that_varies_by_other_fields_is_added() -> None:
    both = pairs(accept_language="de", accept_encoding="br")
    stored = put(put(None, FR, body=b"fr"), both, "accept-language, accept-encoding", b"de, br")
    assert (body(stored, both), body(stored, FR), body(stored, DE)) == (b"de, br", b"fr", None)


def test_a_response_without_vary_does_not_hide_the_others() -> None:
    stored = put(put(None, DE, body=b"de"), [], None, b"default")
    assert [body(stored, headers) for headers in (DE, [], FR)] == [b"de", b"default", None]


def test_a_response_without_vary_is_replaced_by_one_with_it() -> None:
    stored = put(put(None, [], None, b"all"), DE, body=b"de")
    assert (body(stored, DE), body(stored, FR)) == (b"de", None)


def test_their_number_is_bounded_and_the_oldest_are_dropped() -> None:
    stored = None
    for number in range(variants.MAX_VARIANTS + 5):
        stored = put(stored, pairs(accept_language=str(number)), body=b"%d" % number)
    assert stored is not None
    assert len(stored.others) == variants.MAX_VARIANTS - 1
    assert body(stored, pairs(accept_language="5")) == b"5"
    assert body(stored, pairs(accept_language="4")) is None


def test_their_bytes_are_bounded() -> None:
    large = b"x" * (variants.MAX_VARIANT_BYTES // 2)
    stored = put(put(put(None, DE, body=large), FR, body=large), EN, body=large)
    assert [body(stored, headers) is not None for headers in (EN, FR, DE)] == [True, True, False]


def test_their_tags_together_are_bounded() -> None:
    stored = None
    for number in range(3):
        headers = [(b"accept-language", b"%d" % number)]
        tags = tuple(f"{number}:{tag}" for tag in range(MAX_TAGS // 2))
        new = msgspec.structs.replace(response(headers), tags=tags)
        stored = merge_variant(new, stored, headers, NOW)
    assert stored is not None
    assert [variant.tags[0] for variant in (stored, *stored.others)] == ["2:0", "1:0"]


def test_expired_variants_are_dropped() -> None:
    old = msgspec.structs.replace(response(DE), kept_until=NOW)
    assert merge_variant(response(FR), old, FR, NOW).others == ()


def test_an_entry_has_the_tags_of_all_variants_and_expires_with_the_last() -> None:
    one, two = (
        msgspec.structs.replace(response(h), tags=(t,), kept_until=NOW + e)
        for h, t, e in ((DE, "a", 900), (FR, "b", 5))
    )
    stored = merge_variant(two, one, FR, NOW)
    assert all_tags("s", stored) == ("a", "b", "s")
    assert stored.expires_at == NOW + 900
    assert select(stored, FR) is stored


def test_variants_are_encoded_and_decoded() -> None:
    stored = put(put(None, DE, body=b"de"), FR, body=b"f" * 5_000)
    assert decode(encode(stored)) == stored
    assert stored.size > 6_000
