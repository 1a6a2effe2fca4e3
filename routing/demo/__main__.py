"""`python -m routing.demo --parent PID --ports '{"crm": 9104}'`: run the backends as a child of PID."""

import argparse
import asyncio
import json

from routing.demo.servers import run_servers

parser = argparse.ArgumentParser(prog="python -m routing.demo", description=__doc__)
parser.add_argument("--parent", type=int, required=True, help="exit when this process ends")
parser.add_argument("--ports", type=json.loads, default={}, help="preferred port by service name, as JSON")
arguments = parser.parse_args()
asyncio.run(run_servers(arguments.parent, arguments.ports))
