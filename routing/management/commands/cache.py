"""Warm, flush, invalidate and measure the response cache."""

import re
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from resilience.cache.hit_counter import ReplayableRequest
from resilience.cache.objects import SERVICE
from resilience.outage import StoreUnavailable
from routing import runtime, signals
from routing.database import loader
from routing.database.actor import command_user
from routing.router.hosts import first_name
from routing.warming import LOCAL_HOST, parse_reference

_ADDRESS: Final = re.compile(r"https?://[^/\s]+/?")
_OVER_HTTP: Final = {
    "warm": "POST /metrics/cache/warm",
    "flush": "DELETE /metrics/cache",
    "invalidate": "DELETE /metrics/cache/<service>?tag=TAG",
    "stats": "GET /metrics/cache",
}
"""The request to a running gateway that does the same, by action."""


class Command(BaseCommand):
    help = "Warm, flush, invalidate and measure the response cache."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        warm = actions.add_parser("warm", help="fetch the most requested paths again, or those given")
        warm.add_argument("paths", nargs="*", help="<service>/<path>; by default, the most requested ones")
        warm.add_argument("--list", dest="file", help="a file with one path per line; - is standard input")
        warm.add_argument("--top", type=int, default=100, help="number of paths per service (default: 100)")
        warm.add_argument(
            "--address",
            help="the address that clients use, such as https://gateway.example.com (default: %(default)s)",
            default=_default_address(),
        )
        flush = actions.add_parser("flush", help="delete all entries of a service, or of all services")
        invalidate = actions.add_parser("invalidate", help="delete the entries with a tag")
        invalidate.add_argument("tags", nargs="+", metavar="tag")
        stats = actions.add_parser("stats", help="show entries and bytes by service")
        for action in (warm, flush, invalidate, stats):
            action.add_argument("--service", help="only this service")
        for action in (warm, flush, invalidate):
            action.add_argument("--dry-run", action="store_true", help="only show what would be done")

    def handle(self, *, action: str, service: str | None, **options: Any) -> None:
        self._runtime = runtime.current()
        standalone = not self._runtime.started
        if standalone and settings.CONFIG.redis_server is None:
            raise CommandError(f"without REDIS_URL each process has its own cache: use {_OVER_HTTP[action]}")
        if standalone:
            loader.current_version()  # raises DatabaseError at once; a gateway would go on trying
        self._runtime.opened()
        try:
            getattr(self, f"_{action}")(self._services(service, with_values=action != "warm"), **options)
        except StoreUnavailable:
            raise CommandError("the store cannot be reached") from None
        finally:
            if standalone:
                self._run(self._runtime.stop())

    def _services(self, service: str | None, *, with_values: bool) -> list[str]:
        """Those of the gateway, and the one that has the values of Django code."""
        known = list(dict.fromkeys([*self._runtime.gateway.live.table.services, *([SERVICE] if with_values else [])]))
        if service is not None and service not in known:
            raise CommandError(f"there is no service {service!r}")
        return known if service is None else [service]

    def _warm(
        self,
        services: list[str],
        *,
        paths: list[str],
        file: str | None,
        address: str,
        top: int,
        dry_run: bool,
        **_: Any,
    ) -> None:
        if top < 1:
            raise CommandError("--top must be at least 1")
        if _ADDRESS.fullmatch(address) is None:
            raise CommandError(f"--address must be one such as https://gateway.example.com, not {address!r}")
        requests = [parse_reference(path, address) for path in [*paths, *(_lines(file) if file else ())]]
        if not paths and file is None:
            requests = self._run(self._runtime.warmer.most_requested(services, top))
        if dry_run:
            for request in requests:
                self.stdout.write(f"{_target(request)}  {request.caller or ''}".rstrip())
            self.stdout.write(f"{len(requests)} to warm")
            return
        done: list[bool] = []

        def report(request: ReplayableRequest, stored: bool) -> None:
            done.append(stored)
            self._progress(len(done), len(requests), "" if stored else f"{_target(request)} is not stored")

        warmed, failed = self._run(self._runtime.warmer.warm(requests, report))
        _send_operation("cache.warm", "", {"warmed": warmed, "failed": failed})
        self.stdout.write(f"{warmed} warmed, {failed} failed")

    def _progress(self, done: int, total: int, warning: str) -> None:
        """Print the warning, if any, on a line of its own, and a progress bar on a terminal."""
        if warning:
            self.stderr.write(warning)
        if self.stderr.isatty():
            filled = 30 * done // total
            self.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total}", ending="")
            if done == total:
                self.stderr.write("")

    def _flush(self, services: list[str], *, dry_run: bool, **_: Any) -> None:
        self._delete(services, None, dry_run)

    def _invalidate(self, services: list[str], *, tags: list[str], dry_run: bool, **_: Any) -> None:
        if "" in tags:
            raise CommandError("a tag must not be empty")
        for tag in tags:
            self._delete(services, tag, dry_run)

    def _delete(self, services: list[str], tag: str | None, dry_run: bool) -> None:
        what = f" with {tag}" if tag else ""
        for service in services:
            if dry_run:
                count = self._run(self._runtime.cache.usage(service, tag)).entries
            else:
                held = self._run(self._runtime.cache.usage_of([service], tag))
                count = self._run(self._runtime.cache.invalidate(service, None if tag is None else [tag]))
                after = ({"tag": tag} if tag else {}) | {"keysDeleted": count}
                _send_operation("cache.invalidate", service, after, before=held and held._asdict())
            self.stdout.write(f"{service}: {count} {'to delete' if dry_run else 'deleted'}{what}")

    def _stats(self, services: list[str], **_: Any) -> None:
        for service in services:
            usage = self._run(self._runtime.cache.usage(service))
            self.stdout.write(f"{service:<32} {usage.entries:>9} entries {usage.bytes:>13} bytes")

    def _run(self, coroutine: Any) -> Any:
        return self._runtime.wait_for(coroutine)


def _default_address() -> str:
    """The address with the first allowed host that is not a pattern."""
    return f"http://{first_name(settings.ALLOWED_HOSTS, LOCAL_HOST)}"


def _send_operation(action: str, service: str, after: dict[str, object], before: dict[str, int] | None = None) -> None:
    signals.operation_performed.send(
        Command, actor=command_user(), action=action, service=service, before=before, after=after
    )


def _lines(file: str) -> list[str]:
    """Raises CommandError."""
    try:
        text = (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode("utf-8-sig")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{file}: not UTF-8") from None
    return [line for line in (line.strip() for line in text.splitlines()) if line and not line.startswith("#")]


def _target(request: ReplayableRequest) -> str:
    return (request.path + (b"?" + request.query if request.query else b"")).decode("latin-1")
