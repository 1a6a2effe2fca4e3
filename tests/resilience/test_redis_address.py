"""What a REDIS_URL means, and what is refused."""

from pathlib import Path

import pytest

from resilience.redis_address import RedisAddress, parse, parse_prefix


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://redis", RedisAddress(kind="single", hosts=(("redis", 6379),))),
        (
            "redis://:p%40ss@r:1/2",
            RedisAddress(kind="single", hosts=(("r", 1),), database=2, login={"password": "p@ss"}),
        ),
        ("redis://[::1]:7?db=3", RedisAddress(kind="single", hosts=(("::1", 7),), database=3)),
        ("unix:///run/r.sock?db=1", RedisAddress(kind="single", path="/run/r.sock", database=1)),
        (
            "redis+sentinel://user:enc%40pw@h1,h2:5/primary/4",
            RedisAddress(
                kind="sentinel",
                hosts=(("h1", 26379), ("h2", 5)),
                master="primary",
                database=4,
                login={"username": "user", "password": "enc@pw"},
            ),
        ),
        (
            "redis+sentinel://h1?sentinel_password=s%26t",
            RedisAddress(
                kind="sentinel", hosts=(("h1", 26379),), master="mymaster", sentinel_login={"password": "s&t"}
            ),
        ),
        ("redis+cluster://a:1,b:2", RedisAddress(kind="cluster", hosts=(("a", 1), ("b", 2)))),
    ],
)
def test_an_address_is_parsed(url: str, address: RedisAddress) -> None:
    assert parse(url) == address


def test_tls_verifies_the_certificate_unless_told_otherwise(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("")
    for scheme in ("rediss", "rediss+sentinel", "rediss+cluster"):
        assert parse(f"{scheme}://h").tls == {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
        assert parse(f"{scheme}://h?ssl_ca_certs={authority}").tls["ssl_ca_certs"] == str(authority)
    assert parse("rediss://h?ssl_cert_reqs=none").tls["ssl_check_hostname"] is False


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "redis",
        "redis://h/x",
        "redis://h/1/2",
        "redis://h:99999",
        "redis://h:port",
        "redis://a,b",
        "redis://:secret#1@h",
        "redis://:secret/1@h",
        "redis://[::1",
        "redis://h?secret=1",
        "redis://h?ssl_ca_certs=/x",
        "redis://h?sentinel_password=secret",
        "rediss://h?ssl_ca_certs=/does/not/exist",
        "rediss://h?ssl_cert_reqs=maybe",
        "redis+cluster://h/1",
        "redis+sentinel://h/m/0/secret",
        "unix://",
    ],
)
def test_a_wrong_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        parse(url)
    assert ":secret" not in str(refusal.value)


def test_each_database_has_a_prefix_of_its_own() -> None:
    prefixes = [parse(f"redis://h/{number}").default_prefix for number in range(3)]
    assert prefixes == ["gw", "gw1", "gw2"]
    assert parse("unix:///s?db=5").default_prefix == "gw5"


@pytest.mark.parametrize(("text", "prefix"), [("a", "a"), ("team-a:", "team-a"), ("eu:gw_2.x", "eu:gw_2.x")])
def test_a_prefix_is_accepted(text: str, prefix: str) -> None:
    assert parse_prefix(text) == prefix


@pytest.mark.parametrize("text", [":", "a{b}", "a b", "a*", "é", "x" * 65, "-a"])
def test_a_prefix_that_changes_slots_or_patterns_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        parse_prefix(text)
