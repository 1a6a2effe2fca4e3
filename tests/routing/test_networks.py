"""Sets of networks and lists of them: every address against Python's own ipaddress."""

import random
import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.configuration.faults import ConfigurationError
from routing.configuration.networks import networks
from routing.networks import AddressPolicy, NetworkSet, parse_address, parse_network, permits
from tests.processor_time import ratio

V4 = st.builds(
    lambda number, size: ip_network((number, size), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)
)
V6 = st.builds(
    lambda number, size: ip_network((number << 96, size), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 128)
)


@given(st.lists(st.one_of(V4, V6), min_size=1, max_size=20), st.data())
def test_an_address_is_in_the_set_exactly_if_it_is_in_a_network(found: list, data: st.DataObject) -> None:  # type: ignore[type-arg]
    within = data.draw(st.sampled_from(found))
    number = int(within.network_address) + data.draw(st.integers(-2, 2))
    kind = IPv4Address if within.version == 4 else IPv6Address
    address = kind(min(max(number, 0), 2**within.max_prefixlen - 1))
    if address.version == 6 and address.ipv4_mapped:
        return
    expected = any(address in network for network in found)
    assert AddressPolicy(allow=NetworkSet([str(network) for network in found])).permits(str(address)) is expected


@pytest.mark.parametrize(
    ("entry", "client"),
    [
        ("10.0.0.0/8", "::ffff:10.1.2.3"),
        ("::ffff:10.0.0.0/104", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8::/32", "2001:DB8::1"),
        ("fe80::/10", "fe80::1%eth0"),
        ("0.0.0.0/0", "255.255.255.255"),
        ("::/0", "2001:db8::1"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_one_address_may_be_written_in_several_ways(entry: str, client: str) -> None:
    assert AddressPolicy(allow=NetworkSet([entry])).permits(client)
    assert not AddressPolicy(deny=NetworkSet([entry])).permits(client)


def test_each_version_is_apart() -> None:
    assert not AddressPolicy(allow=NetworkSet(["0.0.0.0/0"])).permits("2001:db8::1")
    assert not AddressPolicy(allow=NetworkSet(["::/0"])).permits("192.0.2.1")


def test_deny_wins_over_allow() -> None:
    policy = AddressPolicy(NetworkSet(["10.0.0.0/8"]), NetworkSet(["10.1.0.0/16"]))
    assert policy.permits("10.2.0.1")
    assert not policy.permits("10.1.0.1")
    assert not policy.permits("192.0.2.1")
    assert not permits((policy, AddressPolicy(deny=NetworkSet(["10.2.0.1"]))), "10.2.0.1")


@pytest.mark.parametrize(
    "client", ["", "unknown", "10.0.0", "010.0.0.1", "10.0.0.1:80", "[::1]", "\x00", "\u0661.1.1.1"]
)
def test_an_unknown_address_is_refused_where_there_is_a_list(client: str) -> None:
    assert parse_address(client) is None
    assert not AddressPolicy(deny=NetworkSet(["192.0.2.1"])).permits(client)
    assert permits((), client)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("10.0.0.5/8", "'10.0.0.5/8' has host bits set: write 10.0.0.0/8, or 10.0.0.5 for one address"),
        ("2001:db8::1/32", "has host bits set: write 2001:db8::/32, or 2001:db8::1 for one address"),
        ("::ffff:10.0.0.0/8", "write 10.0.0.0/8, or ::ffff:10.0.0.0 for one address"),
        ("10.0.0.0/33", "what follows the slash must be from 0 to 32"),
        ("10.0.0.0/255.0.0.0", "what follows the slash must be from 0 to 32"),
        ("10.0.0.0/", "what follows the slash must be from 0 to 32"),
        ("::/129", "what follows the slash must be from 0 to 128"),
        ("10.0.0", "is not an address or a network"),
        ("010.0.0.1", "is not an address or a network"),
        ("example.com", "is not an address or a network"),
        ("", "is not an address or a network"),
    ],
)
def test_a_faulty_entry_says_what_is_wrong(entry: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        parse_network(entry)


@pytest.mark.parametrize(
    "value", [{"allow": []}, {"allow": "10.0.0.0/8"}, {"allow": [1]}, {"block": ["::1"]}, True, []]
)
def test_a_faulty_section_is_refused(value: object) -> None:
    with pytest.raises((ConfigurationError, ValueError)):
        networks(value)


def test_neighbouring_and_nested_networks_become_one_range() -> None:
    assert NetworkSet(["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"]) == NetworkSet(["10.0.0.0/8"])
    assert NetworkSet(["0.0.0.0/1", "128.0.0.0/1"]).has_every(4)


def test_a_lookup_among_a_hundred_thousand_networks_takes_little_more_than_among_ten() -> None:
    numbers = random.Random(1).sample(range(2**24), 100_000)
    many = NetworkSet([f"{ip_address(number << 8)}/25" for number in numbers])
    few = NetworkSet([f"{ip_address(number << 8)}/25" for number in numbers[:10]])
    # Few clients, since other processes may take the processor's cache.
    clients = [str(ip_address(number << 8 | 200)) for number in numbers[:100]] * 20

    def look_up(entries: NetworkSet) -> None:
        assert all(map(AddressPolicy(deny=entries).permits, clients))

    assert ratio(lambda: look_up(many), lambda: look_up(few), 5) < 5


def test_a_long_list_has_the_addresses_of_its_networks_at_their_ends() -> None:
    draw = random.Random(2)
    sizes = [draw.choice([9, 15, 16, 17, 24, 32]) for _ in range(1_500)]
    found = [ip_network((draw.randrange(2**28) << 4, size), strict=False) for size in sizes]
    policy = AddressPolicy(allow=NetworkSet([str(network) for network in found]))
    numbers = {int(end) + step for network in found[:60] for end in (network[0], network[-1]) for step in (-1, 0, 1)}
    for number in numbers - {-1, 2**32}:
        address = ip_address(number)
        assert policy.permits(str(address)) is any(address in network for network in found)


def test_a_lookup_in_a_long_list_takes_hardly_longer_than_in_one_of_ten() -> None:
    entries = [str(ip_address(number)) for number in random.Random(1).sample(range(2**24, 2**32), 50_000)]
    many, few = AddressPolicy(deny=NetworkSet(entries)), AddressPolicy(deny=NetworkSet(entries[:10]))
    clients = entries[:3_000]

    def look_up(policy: AddressPolicy) -> None:
        for client in clients:
            policy.permits(client)

    assert ratio(lambda: look_up(many), lambda: look_up(few), 2.5) < 2.5
