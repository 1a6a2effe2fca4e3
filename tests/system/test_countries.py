"""A gateway with a database of countries."""

from pathlib import Path

import pytest
import requests

from tests.mmdb import database
from tests.seed import create_keys
from tests.system.server import Server

CONFIG = """
version: 1
services:
  crm:
    targets: [{url: "http://127.0.0.1:1"}]
    retries: {attempts: 1}
    ip: {allow: ["country:DE"]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "countries.mmdb"
    found.write_bytes(database({"192.0.2.0/24": "DE", "198.51.100.0/24": "FR"}))
    return found


def test_the_file_decides_who_may_call(file: Path, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    environment = {
        "GATEWAY_CONFIG": str(tmp_path / "gateway.yaml"),
        "GEOIP_DATABASE": str(file),
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    server = Server(environment=environment)
    keys = create_keys(lambda *arguments: server.manage(*arguments).strip().rpartition("\n")[2], {"key": ("*",)})
    with server:
        found = {}
        for address in ("192.0.2.1", "198.51.100.1", "203.0.113.1"):
            headers = {"X-API-Key": keys["key"], "X-Forwarded-For": address}
            found[address] = requests.get(f"{server.address}/api/v1/crm/", headers=headers, timeout=30).status_code
        assert found == {"192.0.2.1": 502, "198.51.100.1": 403, "203.0.113.1": 403}
        server.manage("config", "validate", environment["GATEWAY_CONFIG"])
        del server.environment["GEOIP_DATABASE"]
        with pytest.raises(AssertionError, match="needs a database of countries: set GEOIP_DATABASE"):
            server.manage("config", "validate", environment["GATEWAY_CONFIG"])
