"""`python -m benchmarks.load`: starts a gateway with a backend, runs tests/load-test.sh against it, and ends both."""

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
"""A service with plenty, and one with the gateway's own limit of 100/m."""


def main() -> int:
    with (
        servers.backend() as origin,
        servers.gateway(origin, configuration=CONFIGURATION, environment={"RATE_LIMIT": "100/m"}) as gateway,
    ):
        given = {
            "GATEWAY_URL": gateway.address,
            "GATEWAY_KEY": gateway.key,
            "LIMITED_PATH": "/api/v1/limited/small",
            "LOAD_PATH": "/api/v1/bench/small",
        }
        done = subprocess.run([ROOT / "tests" / "load-test.sh"], env={**os.environ, **given}, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
