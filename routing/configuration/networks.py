"""The parser of `ip`: which addresses may call. No Django, no I/O."""

from typing import Any, Final

from routing.configuration.values import ValueParser, display, list_of, mapping_of, string
from routing.countries.codes import PREFIX, is_country, parse_country
from routing.countries.lookup import COUNTRIES
from routing.networks import Addresses, AddressPolicy, NetworkSet, compiled, parse_network

NO_LIMIT: Final[dict[str, None]] = {"allow": None, "deny": None}


def _entry(value: object) -> str:
    text = string(value)
    if not is_country(text):
        parse_network(text)
    else:
        parse_country(text)
    return text


def _set(value: object) -> NetworkSet | None:
    """A list of networks. Parsed entry by entry only if one is faulty: a list may be long, and is parsed at every
    reload.

    Without a database of countries, a list that names one is a fault: nobody could tell whom it lets in.
    """
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of networks, not {display(value)}")
    if not value:
        raise ValueError("must name at least one network; leave it out for no limit")
    if all(isinstance(item, str) for item in value):
        try:
            found = compiled(tuple(value))
        except ValueError:
            list_of(_entry)(value)
            raise
        if found.countries and not COUNTRIES.is_configured:
            raise ValueError(f"{PREFIX}{min(found.countries)} needs a database of countries: set GEOIP_DATABASE")
        return found
    list_of(_entry)(value)
    raise AssertionError("an entry that is no string is a fault")


NETWORKS: Final[dict[str, ValueParser]] = {"allow": _set, "deny": _set}


def ip(value: object) -> dict[str, Any]:
    """`{allow: [...], deny: [...]}`, or `off` for no limit."""
    if value is False:
        return dict(NO_LIMIT)
    settings: dict[str, Any] = mapping_of(NETWORKS)(value)
    return settings


def build_addresses(allow: NetworkSet | None = None, deny: NetworkSet | None = None) -> Addresses:
    return () if allow is None and deny is None else (AddressPolicy(allow, deny),)


def networks(value: object) -> Addresses:
    """The addresses that a key's `ip` permits. Raises ValueError or ConfigurationError."""
    return build_addresses(**ip(value))
