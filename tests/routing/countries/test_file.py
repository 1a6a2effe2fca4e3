"""Files in MaxMind's format, and what is done when they are replaced."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from resilience.watched_file import WatchedFile
from routing.countries.database import open_database
from routing.countries.lookup import CountryLookup
from routing.networks import parse_address
from tests.mmdb import BUILT, database

NETWORKS: dict[str, Any] = {
    "192.0.0.0/16": "DE",
    "192.0.2.0/24": "FR",
    "2001:db8::/32": "AT",
    "198.51.100.0/24": {"country_code": "US", "country": "United States"},
    "203.0.113.0/25": {"country": "nl", "continent": "EU"},
    "203.0.113.128/25": {"registered_country": {"iso_code": "IT"}},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "countries.mmdb"
    found.write_bytes(database(NETWORKS))
    return found


def test_the_country_of_an_address(path: Path) -> None:
    found = open_database(path.read_bytes())
    assert (found.kind, found.built) == ("Test-Country", BUILT)
    expected = {
        "192.0.1.1": "DE",
        "192.0.2.255": "FR",
        "192.0.3.0": "DE",
        "192.1.0.0": "",
        "2001:db8:ffff::": "AT",
        "2001:db9::": "",
        "198.51.100.1": "US",
        "203.0.113.1": "NL",
        "203.0.113.129": "",
        "127.0.0.1": "",
    }
    assert {address: found.find(ip_address(address)) for address in expected} == expected


def test_a_database_of_ipv4_has_no_ipv6(path: Path) -> None:
    path.write_bytes(database({"192.0.2.0/24": "DE"}, ip_version=4))
    found = open_database(path.read_bytes())
    assert [found.find(ip_address(text)) for text in ("192.0.2.1", "2001:db8::1")] == ["DE", ""]


@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda file: file[:-40], lambda file: file[300:], lambda _: b"<html>"]
)
def test_a_file_that_is_none(path: Path, damage: Any) -> None:
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="not a valid MaxMind DB file"):
        open_database(path.read_bytes())


def test_a_database_without_countries(path: Path) -> None:
    path.write_bytes(database({"192.0.2.0/24": {"autonomous_system": "AS1"}}, kind="Test-ASN"))
    with pytest.raises(ValueError, match="'Test-ASN' has no countries"):
        open_database(path.read_bytes())


class Follower:
    """A process that follows the file."""

    def __init__(self, path: Path) -> None:
        self.lookup = CountryLookup()
        self.file = WatchedFile(path, self._use, "the database of countries")
        self.lookup.configure(self.file.load)

    def _use(self, content: bytes) -> None:
        self.lookup.use(open_database(content).find)

    def country(self, text: str = "192.0.2.1") -> str:
        address = parse_address(text)
        assert address is not None
        return self.lookup.country_of(address)


def test_the_file_is_opened_at_the_first_lookup_and_names_itself_in_errors(path: Path, tmp_path: Path) -> None:
    assert Follower(path).country() == "FR"
    missing = Follower(tmp_path / "none.mmdb")
    assert missing.lookup.is_configured
    with pytest.raises(ValueError, match=r"none\.mmdb: No such file or directory"):
        missing.country()
    assert CountryLookup().country_of((4, 1)) == ""


def test_a_file_that_was_replaced_is_read_when_it_has_not_changed_for_a_check(path: Path) -> None:
    """ipinfo/python-db 6: lookups failed while the file was being downloaded."""
    follower = Follower(path)
    assert follower.country() == "FR"
    new = path.with_suffix(".new")
    new.write_bytes(database({"192.0.2.0/24": "JP"}))
    os.replace(new, path)
    follower.file.check()
    assert follower.country() == "FR"
    follower.file.check()
    assert follower.country() == "JP"


def test_a_file_that_is_overwritten_in_place(path: Path) -> None:
    """mod_maxminddb 74 and MaxMind-DB-Reader-java 87: readers of the old file got rubbish, or died."""
    follower = Follower(path)
    assert follower.country() == "FR"
    path.write_bytes(b"")
    assert follower.country("192.0.3.1") == "DE"
    complete = database({"192.0.0.0/16": "CH", **{f"198.18.{part}.0/24": "CH" for part in range(60)}})
    for size in (10, len(complete) // 2, len(complete) - 1):
        with path.open("r+b") as file:
            file.write(complete[:size])
        follower.file.check()
        follower.file.check()
        assert follower.country() == "FR"
    path.write_bytes(complete)
    follower.file.check()
    follower.file.check()
    assert follower.country() == "CH"


def test_a_file_that_goes_leaves_the_last_one_in_use(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(path)
    assert follower.country() == "FR"
    path.unlink()
    follower.file.check()
    assert follower.country() == "FR"
    assert "the last one stays in use" in caplog.text
    path.write_bytes(database({"192.0.2.0/24": "JP"}))
    follower.file.check()
    follower.file.check()
    assert follower.country() == "JP"
