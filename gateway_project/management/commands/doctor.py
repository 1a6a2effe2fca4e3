"""`manage.py doctor`: what the gateway depends on, what is wrong with it, and what to do."""

import logging
import sys
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand

from gateway_project.doctor.finding import exit_status, to_json, to_text
from gateway_project.doctor.report import report

TIMEOUT_SECONDS: Final = 3.0
MAX_TIMEOUT_SECONDS: Final = 3_600


class Command(BaseCommand):
    help = (
        "Check the environment, the database, Redis, backends, certificates, proxies, file limits and directories. "
        "Exits with 0 if all is well, 1 for warnings, 2 for errors."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
        parser.add_argument(
            "--timeout",
            type=_seconds,
            default=TIMEOUT_SECONDS,
            help="seconds to wait for a backend (default: %(default)g)",
        )

    def handle(self, *, as_json: bool, timeout: float, **_: Any) -> None:
        logging.disable(logging.WARNING)  # what is logged meanwhile is among the findings
        findings = list(report(settings.CONFIG, timeout))
        self.stdout.write(to_json(findings) if as_json else to_text(findings))
        if status := exit_status(findings):
            sys.exit(status)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= MAX_TIMEOUT_SECONDS:  # neither is not-a-number
        raise ArgumentTypeError(f"must be a number of seconds, more than 0 and at most {MAX_TIMEOUT_SECONDS}")
    return seconds
