"""Any header fields of a backend or a client lead to a decision, never to an exception, and not against directives."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from resilience.cache import fields, validation
from resilience.cache.directives import parse
from resilience.cache.entry import Entry, decode, encode
from resilience.cache.invalidation import invalidated_tags
from resilience.cache.messages import CacheRequest, CacheResponse, Fresh, Stale, Storable
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.responses import CachedResponse, construct_response
from resilience.cache.serving import lookup
from resilience.cache.storing import may_store
from resilience.cache.variants import merge_variant
from tests.resilience.cache.messages import DATE, IN_A_MINUTE, MINUTE_AGO, NOW

Headers = list[tuple[bytes, bytes]]

WORDS = [
    b"max-age=10", b"max-age=0", b"s-maxage=5", b"no-cache", b'no-cache="etag"', b"no-store", b"private", b"public",
    b'private="x"', b"must-revalidate", b"must-understand", b"stale-if-error=9", b"stale-while-revalidate=9",
    b"max-stale", b"min-fresh=3", b"only-if-cached", b"*", b"accept", b'"a"', b'W/"a"', b'"a", "b"', b"bytes=0-1",
    b"bytes=-1", b"bytes=5-,0-0", b"bytes 0-1/2", b"-1", b"99999999999999999999", b"5", b"", DATE, MINUTE_AGO,
    IN_A_MINUTE, b"/x", b"http://[", b"//x", b"x-a, connection",
]  # fmt: skip
NAMES = [
    b"cache-control", b"cdn-cache-control", b"expires", b"date", b"age", b"vary", b"etag", b"last-modified", b"pragma",
    b"connection", b"set-cookie", b"content-length", b"content-range", b"location", b"content-location", b"accept",
    b"surrogate-key", b"cache-tag", b"cache-groups", b"cache-group-invalidation", b"if-none-match", b"if-range",
    b"if-modified-since", b"if-match", b"range", b"x-a",
]  # fmt: skip

values = st.one_of(
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=4).map(b", ".join),
    st.binary(max_size=30),
)
headers = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=8)
policies = st.builds(
    CachePolicy,
    ttl=st.sampled_from([0.0, 60.0]),
    override=st.booleans(),
    stale_while_revalidate=st.sampled_from([0.0, 9.0]),
    vary=st.sampled_from([(), ("Accept",)]),
)
statuses = st.sampled_from([200, 204, 206, 301, 302, 304, 404, 500, 599])


def store(received: Headers, presented: Headers, status: int, policy: CachePolicy) -> Entry | None:
    stored = may_store(
        CacheRequest("GET", presented, authenticated=True), CacheResponse(status, received, NOW), policy, Scope.USER
    )
    if not isinstance(stored, Storable):
        return None
    freshness = stored.freshness
    return Entry(
        status=status,
        headers=stored.headers,
        body=b"0123456789",
        stored_at=NOW,
        generated_at=freshness.generated_at,
        fresh_until=freshness.fresh_until,
        refresh_until=freshness.refresh_until,
        stale_until=freshness.stale_until,
        kept_until=freshness.kept_until,
        must_revalidate=freshness.must_revalidate,
        vary=stored.vary,
        variant=stored.variant,
        tags=tuple(sorted(fields.tags(received))),
    )


def parts(response: CachedResponse) -> list[bytes]:
    """What the response has of the stored body: one part, or several where the client asked for several ranges."""
    media_type = dict(response.headers).get(b"content-type", b"")
    if not media_type.startswith(b"multipart/byteranges"):
        return [response.body]
    delimiter = b"--" + media_type.partition(b"boundary=")[2]
    opening, *pieces, closing = response.body.split(delimiter)
    assert (opening, closing) == (b"", b"--\r\n")
    return [piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for piece in pieces]


@settings(max_examples=500, deadline=None)
@example([(b"cache-control", b"max-age=10")], [(b"range", b"bytes=5-,0-0")], 200, CachePolicy(), 0)
@given(headers, headers, statuses, policies, st.sampled_from([0, 1, 9, 61, 400, 9_000]))
def test_storing_and_serving(
    received: Headers, presented: Headers, status: int, policy: CachePolicy, seconds: float
) -> None:
    entry = store(received, presented, status, policy)
    if entry is None:
        return
    control = parse(fields.values(received, b"cache-control"))
    if not fields.values(received, b"cdn-cache-control") and b"must-understand" not in control:
        assert b"no-store" not in control
    assert b"no-store" not in CacheRequest("GET", presented).control
    assert b"set-cookie" not in dict(entry.headers)
    assert entry.kept_until > NOW
    assert decode(encode(entry)) == entry
    result = lookup(entry, CacheRequest("GET", presented), NOW + seconds)
    if isinstance(result, Fresh) and not result.stale:
        assert NOW + seconds < entry.fresh_until
    if isinstance(result, Fresh | Stale):
        response = construct_response(result.entry, CacheRequest("GET", presented), result.age)
        assert response.status in (entry.status, 206, 304, 416)
        assert all(part in entry.body for part in parts(response))


@settings(max_examples=200, deadline=None)
@given(headers, headers, headers)
def test_validation_variants_and_invalidation(received: Headers, update: Headers, presented: Headers) -> None:
    entry = store([(b"cache-control", b"max-age=9")], presented, 200, CachePolicy())
    if entry is None:
        return
    updated = validation.freshened_headers(entry, CacheResponse(304, [*received, *update], NOW))
    assert [value for name, value in updated if name == b"content-length"] == []
    validation.is_selected_by(entry, CacheResponse(304, update, NOW))
    validation.matches_head(entry, CacheResponse(200, update, NOW))
    invalidated_tags(b"/x", b"", update, b"/api/v1/crm")
    other = store(update, received, 200, CachePolicy())
    assert other is None or merge_variant(other, entry, received, NOW).body == other.body
