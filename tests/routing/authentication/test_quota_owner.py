"""Whose quota a counter is."""

from routing.authentication.api_keys import ApiKeys, KeyRecord
from routing.authentication.quota_owner import owner_of
from routing.consumers.policy import NO_LIMITS
from routing.consumers.subscription import LimitedMember
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable

DATA = ConsumerData(
    teams={3: LimitedMember(3, "acme", NO_LIMITS, 0.0)}, consumers={5: ConsumerRecord(5, "ann", True, 0.0)}
)
KEYS = ApiKeys([KeyRecord(prefix="abcdefgh", digest="ab" * 32, name="k", row=7)], ConsumerTable(DATA))


def test_a_counter_is_named_by_its_owner_and_its_period() -> None:
    assert owner_of("consumer:5|plan|month", KEYS) == ("consumer", "ann", "plan-month")
    assert owner_of("team:3|team|day", KEYS) == ("team", "acme", "team-day")
    assert owner_of("key:7|key|hour", KEYS) == ("key", "abcdefgh", "key-hour")
    assert owner_of("consumer:99|consumer|year", KEYS) == ("consumer", "99", "consumer-year")
