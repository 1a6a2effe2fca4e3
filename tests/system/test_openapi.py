"""Schemathesis against a running gateway: the server accepts, refuses and responds as its OpenAPI schema says."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.seed import create_keys
from tests.system.backend import Backend
from tests.system.server import ROOT, Server, document

HERE: Final = Path(__file__).parent
KEYS: Final = 80
"""Each may write 60 times a minute."""
SCOPES: Final = ("*", "events:publish", "metrics:read", "metrics:write", "config:read")
EXAMPLES: Final = 5
"""Requests per operation of the fuzzing phase. The phases before it add some thirty."""


@pytest.fixture
def gateway() -> Iterator[Server]:
    """Its services have the names of the schema's examples. Client addresses are those of X-Forwarded-For."""
    with Backend({}) as backend:
        server = Server(migrated=True, environment={"TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT": "1000000/m"})
        file = server.directory / "gateway.yaml"
        names = ("crmIntelligence", "slackIntelligence")
        file.write_text(document({name: {"targets": backend.targets} for name in names}))
        server.environment["GATEWAY_CONFIG"] = str(file)
        keys = create_keys(server.manage, {f"key {number}": SCOPES for number in range(KEYS)})
        server.environment["GATEWAY_KEYS"] = ",".join(keys.values())
        with server:
            yield server


def test_the_server_conforms_to_its_schema(gateway: Server) -> None:
    """All checks and phases, for all operations: see schemathesis.toml."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{gateway.address}/api/schema", "--checks", "all", "--continue-on-failure"),
            *("--generation-deterministic", "--max-examples", str(EXAMPLES), "--request-timeout", "60"),
            *("--no-color", "--warnings", "off"),
        ],
        cwd=gateway.directory,  # it writes a cache
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.system.schemathesis_hooks",
            "GATEWAY_KEYS": gateway.environment["GATEWAY_KEYS"],
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (done.returncode, "No issues found" in done.stdout) == (0, True), done.stdout + done.stderr
    assert [line for line in gateway.log.splitlines() if "ERROR" in line or "Traceback" in line] == []
