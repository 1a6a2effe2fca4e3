"""Django's command line, with the gateway's own commands: rungateway, config, apikey and more."""

import os
import sys

from django.core.management import execute_from_command_line

from gateway_project import launch
from gateway_project.config import ConfigurationFault


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    try:
        with launch.embedded_valkey(sys.argv, os.environ):
            execute_from_command_line(sys.argv)
    except ConfigurationFault as faults:
        sys.exit("\n".join(["Invalid environment:", *(f"  {fault}" for fault in faults.faults)]))


if __name__ == "__main__":
    main()
