"""Renew the watches of webhooks at Gmail and Calendar that are due, and show when each ends."""

import json
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol, cast

from django.core.management.base import BaseCommand, CommandError

from routing import runtime
from routing.database.actor import command_user
from routing.models import Service, Watch
from routing.signals import operation_performed
from routing.watches.database import record_of
from routing.watches.record import WatchRecord, WatchState
from routing.watches.store import StoreFailed
from routing.watches.watcher import Watcher

COLUMNS: Final = ("WEBHOOK", "ACCOUNT", "RESOURCE", "STATE", "ENDS", "LEFT", "NEXT", "FAILURE")


class _Watching(Protocol):
    watcher: Watcher


class Command(BaseCommand):
    help = (
        "Renew the watches of webhooks at Gmail and Calendar that are due, and show when each ends. A running gateway "
        "does the same by itself. The exit status is 1 if a watch has ended or could not be renewed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--service", metavar="S", help="those of one service only")
        action = parser.add_mutually_exclusive_group()
        action.add_argument("--list", action="store_true", dest="only_list", help="show them, and call nobody")
        action.add_argument("--renew", action="store_true", help="renew all of them now, whether they are due or not")
        parser.add_argument("--json", action="store_true", dest="as_json", help="as JSON")

    def handle(self, *, service: str | None, only_list: bool, renew: bool, as_json: bool, **_: Any) -> None:
        if service is not None and not Service.objects.filter(name=service).exists():
            raise CommandError(f"there is no service {service}")
        services = None if service is None else [service]
        if not only_list:
            _renew(services, renew)
        rows = Watch.objects.all() if services is None else Watch.objects.filter(service__in=services)
        records, now = [record_of(row) for row in rows], time.time()
        if renew:
            _record(records)
        self.stdout.write(_json(records, now) if as_json else _table(records, now))
        unwell = [record for record in records if record.state(now) in (WatchState.FAILING, WatchState.ENDED)]
        if unwell and not only_list:
            raise CommandError(f"{len(unwell)} of {len(records)} watches are not renewed")


def _renew(services: list[str] | None, force: bool) -> None:
    """Renew in this process, whether or not a gateway runs elsewhere. Raises CommandError."""
    current = runtime.current()
    standalone = not current.started
    watcher = cast(_Watching, current.opened()).watcher
    try:
        current.wait_for(watcher.renew(services, force=force))
    except StoreFailed as error:
        raise CommandError(f"the database is unavailable: {error}") from None
    finally:
        if standalone:
            current.wait_for(current.stop())


def _record(records: Sequence[WatchRecord]) -> None:
    """In the audit log, as for those of the admin."""
    for record in records:
        after = {"webhook": record.webhook, "account": record.subject, "resource": record.resource}
        operation_performed.send(
            None, actor=command_user(), action="watch.renew", service=record.service, before=None, after=after
        )


def _json(records: Sequence[WatchRecord], now: float) -> str:
    return json.dumps([_described(record, now) for record in records], indent=2)


def _described(record: WatchRecord, now: float) -> dict[str, Any]:
    return {
        "webhook": record.webhook,
        "service": record.service,
        "account": record.subject,
        "resource": record.resource,
        "state": record.state(now).value,
        "channel": record.channel or None,
        "expires_at": _time(record.expires_at) or None,
        "seconds_left": round(record.expires_at - now) if record.expires_at else None,
        "renewed_at": _time(record.renewed_at) or None,
        "due_at": _time(record.due_at) or None,
        "failure": record.failure or None,
        "detail": record.detail or None,
        "failures": record.failures,
    }


def _table(records: Sequence[WatchRecord], now: float) -> str:
    if not records:
        return "no webhook watches anything"
    rows = [COLUMNS, *(_row(record, now) for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS) - 1)]
    lines = ("  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows)
    return "\n".join(lines)


def _row(record: WatchRecord, now: float) -> tuple[str, ...]:
    left = _duration(record.expires_at - now) if record.expires_at else "-"
    failure = f"{record.failure}: {record.detail}" if record.failure else ""
    times = (_time(record.expires_at) or "-", left, _time(record.due_at) or "-")
    return (record.webhook, record.subject, record.resource, record.state(now).value, *times, failure)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""


def _duration(seconds: float) -> str:
    if seconds <= 0:
        return "ended"
    days, rest = divmod(int(seconds), 86_400)
    hours, rest = divmod(rest, 3_600)
    return f"{days}d {hours}h" if days else f"{hours}h {rest // 60}m"
