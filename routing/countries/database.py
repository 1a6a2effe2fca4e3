"""Reads files in MaxMind's format (MMDB): GeoLite2, GeoIP2, DB-IP and IPinfo."""

import io
import logging
import os
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from resilience.throttled_log import ThrottledLog
from routing.countries.lookup import Find

if TYPE_CHECKING:
    from maxminddb import Reader

_warn: Final = ThrottledLog(logging.getLogger(__name__)).warning
SAMPLE: Final = 1_000
"""Networks of which at least one must have a country."""


class CountryDatabase(msgspec.Struct, frozen=True):
    """`kind` is the type that the file names; `built` is Unix time."""

    find: Find
    kind: str
    built: int


def open_database(content: bytes) -> CountryDatabase:
    """Raises ValueError for a file that is no database of countries."""
    from maxminddb import InvalidDatabaseError  # noqa: PLC0415 - an optional dependency

    try:
        reader = _reader(content)
        metadata = reader.metadata()
        if not any(map(country, (record for _, record in islice(reader, SAMPLE)))):
            raise ValueError(f"a database of the type {metadata.database_type!r} has no countries")
    except (InvalidDatabaseError, UnicodeDecodeError):
        raise ValueError("not a valid MaxMind DB file") from None
    return CountryDatabase(_finder(reader), metadata.database_type, metadata.build_epoch)


def country(record: Any) -> str:
    """The code in a record: `{country: {iso_code}}`, as MaxMind and DB-IP write it, or IPinfo's `{country_code}` or
    `{country}`. The country in which an address is registered is not that in which it is used.
    """
    if not isinstance(record, Mapping):
        return ""
    named = record.get("country")
    code = record.get("country_code") or (named.get("iso_code") if isinstance(named, Mapping) else named)
    return code.upper() if isinstance(code, str) and len(code) == 2 else ""


def _finder(reader: "Reader") -> Find:
    from maxminddb import InvalidDatabaseError  # noqa: PLC0415 - as above

    has_ipv6 = reader.metadata().ip_version == 6

    def find(address: IPv4Address | IPv6Address) -> str:
        if address.version == 6 and not has_ipv6:
            return ""
        try:
            return country(reader.get(address))
        except (InvalidDatabaseError, ValueError) as error:  # damaged where it was not looked at before
            _warn("a country cannot be looked up", str(error))
            return ""

    return find


def _reader(content: bytes) -> "Reader":
    """Of a copy in memory: a file that is overwritten in place, as many tools do it, would change under a reader that
    maps it, and end the process if it becomes shorter.
    """
    import maxminddb  # noqa: PLC0415 - as above

    if not hasattr(os, "memfd_create"):  # outside of Linux, without the extension in C
        return maxminddb.open_database(io.BytesIO(content), maxminddb.MODE_FD)
    descriptor = os.memfd_create("countries")
    try:
        with open(descriptor, "wb", closefd=False) as copy:
            copy.write(content)
        return maxminddb.open_database(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
