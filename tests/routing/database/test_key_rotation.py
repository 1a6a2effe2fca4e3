"""Rotation, last use and expiry warnings of API keys in the database."""

from datetime import timedelta
from time import time

import pytest
from django.utils import timezone

from routing.authentication.api_keys import ApiKeys
from routing.authentication.key_usage import LastUse
from routing.consumers.table import ConsumerTable
from routing.database.api_keys import MAX_RETIRED, find, issue, revoke, rotate
from routing.database.key_upkeep import warn_of_expiry, write_uses
from routing.database.loader import load
from routing.models import ApiKey, Consumer, RetiredSecret

pytestmark = pytest.mark.django_db


def made(**options: object) -> tuple[ApiKey, str]:
    key = ApiKey(name="ci", scopes=["*"], **options)
    return key, issue(key)


def accepted(*secrets: str, after: float = 0.0) -> list[bool]:
    keys = ApiKeys(load(lambda _: None).keys)
    return [keys.find(secret, time() + after) is not None for secret in secrets]


def test_both_secrets_are_accepted_for_the_grace() -> None:
    key, old = made()
    new = rotate(key, timedelta(hours=1))
    assert new.split("_")[1] == old.split("_")[1] == key.prefix
    assert accepted(old, new) == [True, True]
    assert accepted(old, new, after=3_601) == [False, True]


def test_each_secret_of_several_rotations_has_its_own_end() -> None:
    key, first = made()
    second = rotate(key, timedelta(hours=2))
    third = rotate(key, timedelta(hours=1))
    assert accepted(first, second, third) == [True, True, True]
    assert accepted(first, second, third, after=3_700) == [True, False, True]


def test_without_a_grace_all_old_secrets_end_at_once() -> None:
    key, first = made()
    second = rotate(key, timedelta(hours=2))
    third = rotate(key, timedelta())
    assert accepted(first, second, third) == [False, False, True]


def test_the_key_s_own_end_and_its_revocation_hold_for_old_secrets() -> None:
    key, old = made(expires_at=timezone.now() + timedelta(minutes=1))
    new = rotate(key, timedelta(hours=1))
    assert accepted(old, new, after=61) == [False, False]
    revoke([key])
    assert accepted(old, new) == [False, False]
    with pytest.raises(ValueError, match="revoked"):
        rotate(key, timedelta(hours=1))


def test_old_secrets_are_bounded() -> None:
    key, _ = made()
    for _ in range(MAX_RETIRED):
        rotate(key, timedelta(hours=1))
    with pytest.raises(ValueError, match="without a grace"):
        rotate(key, timedelta(hours=1))
    rotate(key, timedelta())
    rotate(key, timedelta(hours=1))


def test_a_key_is_found_by_any_of_its_secrets_with_what_became_of_it() -> None:
    key, first = made()
    assert find("nothing") is None
    second = rotate(key, timedelta(hours=1))
    found = find(first)
    assert found is not None
    assert (found.reason, found.is_retired) == ("", True)
    rotate(key, timedelta())
    reasons = [result.reason if (result := find(secret)) else None for secret in (first, second)]
    assert reasons == ["replaced", "replaced"]
    revoke([key])
    again = find(first)
    assert again is not None
    assert again.reason == "revoked"


def test_a_key_that_the_gateway_refuses_is_found_as_such() -> None:
    """Whoever verifies a key and whoever calls with it must be told the same."""
    consumer = Consumer.objects.create(name="acme")
    of_consumer, for_test = (issue(ApiKey(name="k", consumer=consumer)), issue(ApiKey(name="t", environment="test")))

    def reasons(environment: str) -> list[str]:
        found = [find(secret, environment) for secret in (of_consumer, for_test)]
        records = load(lambda _: None)
        keys = ApiKeys(records.keys, ConsumerTable(records.consumers), environment)
        accepts = [keys.find(secret, time()) is not None for secret in (of_consumer, for_test)]
        assert accepts == [each is not None and not each.reason for each in found]
        return [each.reason for each in found if each is not None]

    assert reasons("") == reasons("test") == ["", ""]
    assert reasons("live") == ["", "environment"]
    Consumer.objects.update(enabled=False)
    assert reasons("live") == ["disabled", "environment"]
    revoke(ApiKey.objects.all())
    assert reasons("live") == ["revoked", "revoked"]


def test_a_key_s_last_use_is_written_once_a_minute_by_all_workers() -> None:
    key, _ = made()
    at = time()
    assert write_uses({key.prefix: LastUse(at, "192.0.2.1", "crm")}, {}).keys == {}
    other = {key.prefix: LastUse(at + 30, "192.0.2.2", "crm")}
    assert write_uses(other, {}).keys == other
    key.refresh_from_db()
    assert (key.last_used_from, key.last_used_service) == ("192.0.2.1", "crm")
    later = {key.prefix: LastUse(at + 61, "192.0.2.3", "erp")}
    assert write_uses(later, {}).keys == {}
    key.refresh_from_db()
    assert key.last_used_from == "192.0.2.3"


def test_uses_of_an_old_secret_are_counted_and_none_is_lost() -> None:
    key, _ = made()
    rotate(key, timedelta(hours=1))
    digest = RetiredSecret.objects.get().digest
    at = time()
    assert write_uses({}, {digest: LastUse(at, "192.0.2.1", "crm", 3)}).retired == {}
    kept = write_uses({}, {digest: LastUse(at + 1, "192.0.2.1", "crm", 4)}).retired
    assert kept[digest].uses == 4
    assert write_uses({}, kept, True).retired == {}
    assert RetiredSecret.objects.get().uses == 7


def test_a_bulk_of_uses_and_a_key_that_was_deleted() -> None:
    keys = [made()[0] for _ in range(3)]
    uses = {key.prefix: LastUse(time(), "192.0.2.1", "crm") for key in keys} | {"gone": LastUse(time(), "", "")}
    uses |= {f"none{number}": LastUse(time(), "", "") for number in range(1_200)}
    assert write_uses(uses, {}).keys == {}
    assert ApiKey.objects.filter(last_used_from="192.0.2.1").count() == 3


def test_each_threshold_is_warned_of_once() -> None:
    key, _ = made(expires_at=timezone.now() + timedelta(days=10))
    recorded: list[int] = []

    def record(_key: object, days: int) -> None:
        recorded.append(days)

    assert [item.days for item in warn_of_expiry(record)] == [14]
    assert warn_of_expiry(record) == []
    key.expires_at = timezone.now() + timedelta(hours=5)
    key.save()
    assert [item.days for item in warn_of_expiry(record)] == [1]
    assert warn_of_expiry(record) == []
    assert recorded == [14, 1]
    revoke([key])
    assert warn_of_expiry(record) == []


def test_a_key_s_limits_that_cannot_be_read_make_it_invalid() -> None:
    key, secret = made(ip={"allow": ["10.0.0.0/8"]})
    assert accepted(secret) == [True]
    ApiKey.objects.filter(pk=key.pk).update(ip={"allow": ["nonsense"]})
    assert accepted(secret) == [False]
