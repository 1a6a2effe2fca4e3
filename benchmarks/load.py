"""Run tests/load-test.sh against a temporary gateway and origin: `python -m benchmarks.load`."""

import os
import subprocess
import sys
from typing import Final

from benchmarks import servers
from benchmarks.processes import ROOT

CONFIGURATION: Final = """
version: 1
services:
  bench:
    targets: [{url: "$origin"}]
    cache: {ttl: 300}
    rate_limit: "1000000/m"
  limited:
    targets: [{url: "$origin"}]
    cache: off
"""
"""`bench` has a limit that is never reached, `limited` the gateway's default of 100/m."""


def main() -> int:
    with (
        servers.backend() as origin,
        servers.gateway(origin, configuration=CONFIGURATION, environment={"RATE_LIMIT": "100/m"}) as gateway,
    ):
        variables = {
            "GATEWAY_URL": gateway.address,
            "GATEWAY_KEY": gateway.key,
            "LIMITED_PATH": "/api/v1/limited/small",
            "LOAD_PATH": "/api/v1/bench/small",
        }
        done = subprocess.run([ROOT / "tests" / "load-test.sh"], env={**os.environ, **variables}, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
