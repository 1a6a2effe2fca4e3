"""What runs before Django reads its settings."""

from pathlib import Path

import pytest

from gateway_project.environment.variables import ConfigurationFault
from gateway_project.launch import embedded_valkey


def test_serve_lists_every_fault_of_its_environment() -> None:
    environment = {"DATABASE_URL": "mysql://x", "RATE_LIMIT": "100", "REDIS_URL": "foo://x"}
    with pytest.raises(ConfigurationFault) as found, embedded_valkey(["manage.py", "serve"], environment):
        pass
    assert [fault.partition(":")[0] for fault in found.value.faults] == ["DATABASE_URL", "REDIS_URL", "RATE_LIMIT"]


@pytest.mark.parametrize("arguments", [["manage.py"], ["manage.py", "check"], ["manage.py", "runserver"]])
@pytest.mark.parametrize("database", ["mysql://x", "sqlite://:memory:", "sqlite:///{}/none.sqlite3"])
def test_a_command_without_a_running_gateway_is_left_alone(arguments: list[str], database: str, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": database.format(tmp_path), "REDIS_URL": "embedded"}
    with embedded_valkey(arguments, environment):
        assert environment["REDIS_URL"] == "embedded"
