"""Very many keys: their memory, the time of a lookup, and changes of single ones."""

import tracemalloc
from dataclasses import dataclass
from hashlib import sha256

import pytest

from routing.authentication.api_keys import ApiKeys, KeyRecord, RetiredDigest, generate_api_key
from routing.authentication.key_rules import KeyRules
from routing.authentication.key_table import KeyTable
from routing.configuration.consumers import decode_limits
from routing.configuration.networks import networks
from routing.consumers.identities import IdentityRecord, IdentityTable
from routing.consumers.packed import PackedRows
from routing.consumers.policy import UserBinding
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable
from tests.processor_time import ratio

NOW = 1_000_000.0
NUMBER = 4_000
MANY = 4_000


@dataclass
class Population:
    keys: ApiKeys
    secrets: list[str]


def key(number: int, **settings: object) -> tuple[str, KeyRecord]:
    made = generate_api_key()
    fields = {"name": f"key of {number}", "scopes": frozenset({"crm", "billing"}), "row": number} | settings
    return made.key, KeyRecord(prefix=made.prefix, digest=made.digest, **fields)  # type: ignore[arg-type]  # any field


def populate(number: int) -> Population:
    consumers = PackedRows(ConsumerRecord)
    secrets, records = [], []
    for row in range(1, number + 1):
        consumers[row] = ConsumerRecord(row, f"customer-{row}", True, NOW + row, row % 10, "free")
        secret, record = key(row, consumer=row)
        secrets.append(secret)
        records.append(record)
    return Population(ApiKeys(records, ConsumerTable(ConsumerData(consumers=consumers))), secrets)


def test_a_lookup_among_very_many_keys_takes_as_long_as_among_ten() -> None:
    few, many = populate(10), populate(NUMBER)
    used = [secret for secret in many.secrets[:: NUMBER // 10] for _ in range(20)]

    def look_up(population: Population, secrets: list[str]) -> None:
        for secret in secrets:
            assert population.keys.find(secret, NOW) is not None

    assert ratio(lambda: look_up(many, used), lambda: look_up(few, few.secrets * 20), 1.5) < 1.5


def test_a_consumer_with_its_key_takes_at_most_600_bytes() -> None:
    pairs = [key(row, consumer=row) for row in range(1, MANY + 1)]
    records = [record for _, record in pairs]
    names = [f"customer-{row}" for row in range(MANY)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        consumers = PackedRows(ConsumerRecord)
        table = KeyTable(records)
        for row, name in enumerate(names, 1):
            consumers[row] = ConsumerRecord(row, name, True, NOW + row, row % 10, "free")
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(table) == len(consumers) == MANY
    assert used / MANY < 600


def test_unknown_keys_are_not_remembered() -> None:
    population = populate(10)
    for _ in range(3):
        assert population.keys.find(generate_api_key().key, NOW) is None
    assert not population.keys._known.young


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scopes": None, "tenant": "acme", "expires": NOW + 0.5, "consumer": 7, "environment": "live"},
        {
            "limits": decode_limits({"rate": "5/m", "burst": 2, "quota": [{"amount": 9, "per": "month"}]}),
            "created": 5.5,
        },
        {"rules": KeyRules(networks({"allow": ["10.0.0.0/8"]}), frozenset({"GET"}))},
        {"retired": (RetiredDigest("ab" * 32, NOW), RetiredDigest("cd" * 32, NOW + 5))},
    ],
)
def test_a_record_is_unpacked_as_it_was(settings: dict[str, object]) -> None:
    _, record = key(3, **settings)
    table = KeyTable([record])
    assert table.get(3) == record
    assert list(table) == [record]
    assert table.by_digest(bytes.fromhex(record.digest)) == record
    assert all(table.by_digest(bytes.fromhex(item.digest)) == record for item in record.retired)
    assert table.has_limits is (record.limits is not None)
    assert table.has_special is bool(record.rules or record.retired)


def test_a_digest_that_only_begins_like_a_key_s_is_not_found() -> None:
    _, record = key(1)
    digest = bytes.fromhex(record.digest)
    assert KeyTable([record]).by_digest(digest[:-1] + bytes([digest[-1] ^ 1])) is None


def test_a_changed_key_loses_its_old_secret_and_a_removed_one_all() -> None:
    (old, first), (new, second) = key(1), key(1)
    table = KeyTable([first])
    table.apply({1: second})
    assert (len(table), ApiKeys(table).find(old, NOW)) == (1, None)
    assert ApiKeys(table).find(new, NOW) is not None
    table.apply({1: None, 2: None})
    assert (len(table), ApiKeys(table).find(new, NOW), table == KeyTable()) == (0, None, True)


def test_two_keys_may_exchange_their_secrets() -> None:
    (one, first), (other, second) = key(1, name="a"), key(2, name="b")
    table = KeyTable([first, second])
    exchanged = {
        1: KeyRecord(prefix=first.prefix, digest=second.digest, name="a", row=1),
        2: KeyRecord(prefix=second.prefix, digest=first.digest, name="b", row=2),
    }
    table.apply(exchanged)
    for secret, name in ((one, "b"), (other, "a")):
        record = table.by_digest(sha256(secret.encode()).digest())
        assert record is not None
        assert record.name == name


def test_identities_are_found_and_move_between_rows() -> None:
    table = IdentityTable()
    ada = UserBinding(issuer="https://id.example.com", subject="ada")
    table.put(1, IdentityRecord(7, "https://id.example.com", "ada"))
    assert table[ada] == 7
    table.apply({1: None, 2: IdentityRecord(8, "https://id.example.com", "ada")})
    assert table.get(ada) == 8
    table.remove(1)
    assert table.get(ada) == 8
    assert table.get(UserBinding(issuer="https://id.example.coma", subject="da")) is None
    assert table.get(UserBinding(issuer="https://id.example.com", subject="", tenant="ada")) is None


def test_a_consumer_is_found_by_name_among_packed_ones() -> None:
    table = populate(50).keys.consumers
    found = table.by_name("customer-7")
    assert found is not None
    assert found.id == 7
    assert table.by_name("customer") is None
