"""Workers whose clocks differ by minutes share entries by the clock of Redis."""

import time

import pytest

from resilience.cache.redis import RedisStore
from resilience.redis import RedisLink
from tests.resilience.cache.entries import make


@pytest.mark.parametrize("skew", [-120.0, 120.0])
async def test_an_entry_has_the_same_age_and_lifetime_by_every_clock(redis_url: str, skew: float) -> None:
    right = RedisLink(redis_url)
    wrong = RedisLink(redis_url, clock=lambda: time.time() + skew)
    for link in (right, wrong):
        await link.start()
    entry = make(b"", "a")
    await RedisStore(right).put("mail", "k", entry, 0)
    found = (await RedisStore(wrong).get("mail", "k")).entry
    assert found is not None
    assert found.generated_at - entry.generated_at == pytest.approx(skew, abs=1)
    assert found.expires_at - entry.expires_at == pytest.approx(skew, abs=1)
    assert right.now() == pytest.approx(wrong.now(), abs=1)
    for link in (right, wrong):
        await link.close()
