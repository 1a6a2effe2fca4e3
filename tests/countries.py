"""Countries of addresses without a file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_network

from routing.countries.lookup import COUNTRIES


@contextmanager
def known_countries(countries: Mapping[str, str]) -> Iterator[list[str]]:
    """Lets lists of addresses name countries. `countries` are codes by network. Yields the addresses looked up."""
    asked: list[str] = []

    def find(address: IPv4Address | IPv6Address) -> str:
        asked.append(str(address))
        return next((code for network, code in countries.items() if address in ip_network(network)), "")

    COUNTRIES.configure(lambda: COUNTRIES.use(find))
    try:
        yield asked
    finally:
        COUNTRIES.configure(None)
