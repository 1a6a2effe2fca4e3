"""Show, reset, raise and refund the quotas of a consumer."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from metrics import quotas
from metrics.runtime_access import run_on_loop
from resilience.outage import StoreUnavailable
from routing import runtime
from routing.database.actor import command_user


class Command(BaseCommand):
    help = "Show, reset, raise and refund the quotas of a consumer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, what in (
            ("show", "show what is used of a consumer's quotas"),
            ("reset", "let the current period count from zero"),
            ("raise", "raise the limit of the current period"),
            ("refund", "uncount requests of the current period"),
        ):
            action = actions.add_parser(name, help=what, description=what)
            action.add_argument("consumer", help="its name")
            if name != "show":
                action.add_argument("quota", help="its name, from `show`: plan-month")
            if name in ("raise", "refund"):
                action.add_argument("amount", type=_amount, help="requests")

    def handle(self, *, action: str, consumer: str, **options: Any) -> None:
        process = runtime.current()
        standalone = not process.started
        if standalone and settings.CONFIG.redis_server is None:
            raise CommandError("without REDIS_URL each process has its own counters: use the admin or the REST API")
        process.opened()
        try:
            self._run(action, consumer, options)
        except StoreUnavailable:
            raise CommandError("the store cannot be reached") from None
        except quotas.UnknownConsumer as error:
            raise CommandError(error.detail) from None
        finally:
            if standalone:
                run_on_loop(process.stop())

    def _run(self, action: str, consumer: str, options: dict[str, Any]) -> None:
        actor, quota, amount = command_user(), options.get("quota", ""), options.get("amount", 0)
        match action:
            case "show":
                found = quotas.quotas_of(consumer)
            case "reset":
                found = [quotas.reset(actor, consumer, quota)]
            case "raise":
                found = [quotas.extend(actor, consumer, quota, amount)]
            case _:
                found = [quotas.refund(actor, consumer, quota, amount)]
        for status in found:
            until = datetime.fromtimestamp(status.resets_at, UTC)
            self.stdout.write(
                f"{status.name:<16}  {status.used:>12} of {status.limit:<12}  until {until:%Y-%m-%d %H:%M}Z"
            )


def _amount(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= quotas.MAX_AMOUNT:
        raise ArgumentTypeError(f"must be a number from 1 to {quotas.MAX_AMOUNT}")
    return int(text)
