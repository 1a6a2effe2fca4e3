import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.quotas.driver import MAX_PER_SERVICE, QuotaBook
from resilience.quotas.reading import remaining
from resilience.quotas.store import KEY, MemoryStore, RedisStore
from resilience.redis import RedisLink
from tests.processor_time import milliseconds
from tests.redis_server import RedisServer


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-ratelimit-remaining", b"59"), (b"x-ratelimit-limit", b"60")], {"default": 59}),
        ([(b"x-rate-limit-remaining", b"3")], {"default": 3}),
        (
            [(b"x-ratelimit-remaining-requests", b"9"), (b"x-ratelimit-remaining-tokens", b"14")],
            {"requests": 9, "tokens": 14},
        ),
        ([(b"anthropic-ratelimit-input-tokens-remaining", b"70")], {"input-tokens": 70}),
        (
            [(b"x-hubspot-ratelimit-daily-remaining", b"249"), (b"x-hubspot-ratelimit-secondly-remaining", b"9")],
            {"daily": 249, "secondly": 9},
        ),
        ([(b"sforce-limit-info", b"api-usage=18/5000")], {"api-usage": 4982}),
        (
            [(b"sforce-limit-info", b"api-usage=25/5000; per-app-api-usage=17/250(appName=sample-app)")],
            {"api-usage": 4975, "per-app-api-usage": 233},
        ),
        ([(b"sforce-limit-info", b"api-usage=5001/5000")], {"api-usage": 0}),
        ([(b"ratelimit", b'"burst";r=3;t=5, "daily";q=9;r=70')], {"burst": 3, "daily": 70}),
        ([(b"x-ratelimit-remaining", b"-1"), (b"x-ratelimit-remaining-a", b"x"), (b"ratelimit", b"r=1")], {}),
        ([(b"x-ratelimit-remaining", b"9" * 40)], {}),
    ],
)
def test_what_remains(headers: list[tuple[bytes, bytes]], expected: dict[str, int]) -> None:
    assert remaining(headers) == expected


@given(st.binary(max_size=80))
def test_nothing_is_raised(value: bytes) -> None:
    for name in (b"ratelimit", b"sforce-limit-info", b"x-ratelimit-remaining"):
        assert all(number >= 0 for number in remaining([(name, value)]).values())


@pytest.mark.parametrize("value", [b'"a"' + b";x" * 240, b'"a";r=' * 80, b"a=1/" * 120])
def test_no_value_takes_long(value: bytes) -> None:
    headers = [(b"ratelimit", value), (b"sforce-limit-info", value)]
    assert milliseconds(lambda: remaining(headers), limit=10) < 10


async def test_a_backend_cannot_add_limits_without_end() -> None:
    book = QuotaBook(MemoryStore())
    for number in range(100):
        name = b"x-ratelimit-remaining-" + b"a" * (number % 30 + 1)
        book.note("crm", [(name, b"%d" % number)])
    assert len(await book.load()) == MAX_PER_SERVICE


async def test_all_workers_show_the_last_values(redis_url: str, shared_redis: RedisServer) -> None:
    link = RedisLink(redis_url)
    first, second = QuotaBook(RedisStore(link)), QuotaBook(RedisStore(link))
    first.note("crm", [(b"x-ratelimit-remaining", b"9")])
    await first.flush()
    second.note("crm", [(b"x-ratelimit-remaining", b"8")])
    with shared_redis.client() as client:
        client.hset(link.key(KEY), "another program's", "x")
    assert await second.load() == {("crm", "default"): 8}
    assert await first.load() == {("crm", "default"): 8}
    await link.close()


async def test_without_redis_a_worker_shows_its_own() -> None:
    link = RedisLink("unix:///nowhere")
    book = QuotaBook(RedisStore(link))
    book.note("crm", [(b"x-ratelimit-remaining", b"9")])
    assert await book.load() == {("crm", "default"): 9}
    await link.close()
