"""List alerts, and send tests to their recipients."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from metrics.alerts import operations
from metrics.runtime_access import run_on_loop
from resilience.outage import StoreUnavailable
from routing import runtime
from routing.database.actor import command_user

MESSAGES = 20


class Command(BaseCommand):
    help = (
        "List the alerts of the configuration, which of their conditions hold, and the latest messages. With --test, "
        "send a message to each recipient instead; the exit status is 1 if one does not accept it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--test", action="store_true", help="send a test to each recipient")
        parser.add_argument("--alert", metavar="NAME", help="of this alert alone")

    def handle(self, *, test: bool, alert: str | None, **_: Any) -> None:
        process = runtime.current()
        standalone = not process.started
        process.opened()
        try:
            self._run(test, alert)
        except StoreUnavailable as error:
            raise CommandError(f"the database is unavailable: {error}") from None
        except operations.UnknownAlert as error:
            raise CommandError(error.detail) from None
        finally:
            if standalone:
                run_on_loop(process.stop())

    def _run(self, test: bool, alert: str | None) -> None:
        if not test:
            self._list(alert)
            return
        results = operations.send_tests(command_user(), alert)
        for result in results:
            self.stdout.write(f"{result.recipient}: {result.failure or 'sent'}")
        if not results:
            self.stdout.write("no alert has a recipient")
        failed = sum(bool(result.failure) for result in results)
        if failed:
            raise CommandError(f"{failed} of {len(results)} recipients did not get the test")

    def _list(self, alert: str | None) -> None:
        now = operations.alerts_now(MESSAGES)
        if alert is not None and alert not in {each.name for each in now.alerts}:
            raise CommandError(f"there is no alert {alert!r}")
        for each in now.alerts:
            if alert in (None, each.name):
                state = "" if each.enabled else " (disabled)"
                self.stdout.write(f"{each.name}{state}: {', '.join(found.label for found in each.recipients)}")
        for state_row in now.firing:
            if alert in (None, state_row.alert):
                self.stdout.write(f"  FIRING {state_row.subject}: {state_row.summary}, since {_time(state_row.since)}")
        for message in now.messages if alert is None else ():
            failure = f": {message.failure}" if message.failure else ""
            self.stdout.write(f"  {_time(message.created_at)} {message.recipient} {message.state}{failure}")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
