"""Lists of addresses that name countries."""

from collections.abc import Iterator

import pytest

from routing.configuration.faults import ConfigurationError
from routing.configuration.networks import networks
from routing.countries.codes import CODES, parse_country
from routing.networks import Addresses, AddressPolicy, NetworkSet, permits
from tests.countries import known_countries

GERMAN, FRENCH, UNKNOWN, PRIVATE, SIX = "192.0.2.7", "198.51.100.7", "203.0.113.7", "10.1.2.3", "2001:db8::7"


@pytest.fixture
def asked() -> Iterator[list[str]]:
    with known_countries({"192.0.2.0/24": "DE", "198.51.100.0/24": "FR", "2001:db8::/32": "DE"}) as found:
        yield found


def permitted(policies: Addresses) -> list[str]:
    return [client for client in (GERMAN, FRENCH, UNKNOWN, PRIVATE, SIX) if permits(policies, client)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"allow": ["country:DE"]}, [GERMAN, SIX]),
        ({"allow": ["country:DE", "country:FR"]}, [GERMAN, FRENCH, SIX]),
        ({"allow": ["country:de", "10.0.0.0/8"]}, [GERMAN, PRIVATE, SIX]),
        ({"deny": ["country:DE"]}, [FRENCH, UNKNOWN, PRIVATE]),
        ({"allow": ["country:DE"], "deny": ["192.0.2.0/25"]}, [SIX]),
        ({"allow": ["192.0.2.0/24", "198.51.100.0/24"], "deny": ["country:FR"]}, [GERMAN]),
        ({"allow": ["country:US"]}, []),
    ],
)
def test_who_may_call(asked: list[str], value: dict[str, list[str]], expected: list[str]) -> None:
    """openappsec 160, zoraxy 271, NPMplus 3746: private and unknown addresses, and networks beside countries."""
    assert permitted(networks(value)) == expected


def test_an_address_may_be_written_in_several_ways(asked: list[str]) -> None:
    policies = networks({"allow": ["country:DE"]})
    assert permits(policies, f"::ffff:{GERMAN}")
    assert permits(policies, f"{SIX}%eth0")
    assert not permits(policies, "")
    assert asked == [GERMAN, SIX]


def test_an_address_is_looked_up_once_and_only_where_it_matters(asked: list[str]) -> None:
    for _ in range(3):
        assert permits(networks({"allow": ["country:DE", "10.0.0.0/8"], "deny": ["203.0.113.0/24"]}), PRIVATE)
        assert permits(networks({"allow": ["country:DE"]}), GERMAN)
    assert asked == [GERMAN]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("country:UK", "write country:GB"),
        ("country:DEU", "two letters of ISO 3166"),
        ("country:", "two letters of ISO 3166"),
        ("country: DE", "two letters of ISO 3166"),
        ("country:XX", "two letters of ISO 3166"),
        ("countries:DE", "is not an address"),
        ("DE", "is not an address"),
    ],
)
def test_entries_that_name_no_country(asked: list[str], entry: str, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        networks({"allow": ["10.0.0.0/8", entry]})


def test_without_a_database_no_list_may_name_a_country() -> None:
    """Also one that was parsed when there was a database."""
    with known_countries({}):
        networks({"deny": ["country:DE"]})
    with pytest.raises(ConfigurationError, match="country:DE needs a database of countries: set GEOIP_DATABASE"):
        networks({"deny": ["country:DE"]})


def test_sets_are_compared_with_their_countries() -> None:
    german, both = NetworkSet(["country:DE"]), NetworkSet(["country:DE", "country:FR"])
    assert german == NetworkSet(["country:de"])
    assert german != both
    assert german != NetworkSet(["10.0.0.0/8"])
    assert (both.covers(german), german.covers(both)) == (True, False)
    assert AddressPolicy(german).names_countries
    assert not AddressPolicy(NetworkSet(["10.0.0.0/8"])).names_countries


def test_every_country_has_a_code_in_any_case() -> None:
    assert len(CODES) == 250
    assert parse_country("country:gb") == "GB"
