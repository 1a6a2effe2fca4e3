"""`python -m routing.demo --parent PID --ports '{"crm": 9104}'`: the backends, as a child process of PID."""

import argparse
import asyncio
import json

from routing.demo.servers import serve

parser = argparse.ArgumentParser(prog="python -m routing.demo", description=__doc__)
parser.add_argument("--parent", type=int, required=True, help="the process to end with")
parser.add_argument("--ports", type=json.loads, default={}, help="service name to preferred port, as JSON")
arguments = parser.parse_args()
asyncio.run(serve(arguments.parent, arguments.ports))
