"""Django's command line, with the gateway's own commands: serve, rungateway, config, apikey, doctor and more."""

import sys

from gateway_project.command_line import run

if __name__ == "__main__":
    sys.exit(run())
