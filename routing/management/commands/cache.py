"""The cache from a terminal: warm, flush, invalidate, stats."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from resilience.cache.heat import ReplayableRequest
from resilience.outage import StoreUnavailable
from routing import runtime, signals
from routing.database.actor import command_user
from routing.warming import parse_reference


class Command(BaseCommand):
    help = "What is stored: warm it, flush it, take it back by tag, count it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        warm = actions.add_parser("warm", help="fetch again what is asked for most, or what a list names")
        warm.add_argument("paths", nargs="*", help="<service>/<path>; what is asked for most when left out")
        warm.add_argument("--list", dest="file", help="a file with one path a line; - is standard input")
        warm.add_argument("--top", type=int, default=100, help="of each service, this many (100)")
        flush = actions.add_parser("flush", help="everything of a service, or of all")
        invalidate = actions.add_parser("invalidate", help="everything with a tag")
        invalidate.add_argument("tags", nargs="+", metavar="tag")
        stats = actions.add_parser("stats", help="entries and bytes, by service")
        for action in (warm, flush, invalidate, stats):
            action.add_argument("--service", help="this one alone")
        for action in (warm, flush, invalidate):
            action.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def handle(self, *, action: str, service: str | None, **options: Any) -> None:
        self._runtime = runtime.current()
        ours = not self._runtime.started
        if ours and settings.REDIS_URL is None:
            raise CommandError("without a REDIS_URL each process has a cache of its own: see POST /metrics/cache/warm")
        self._runtime.opened()
        try:
            getattr(self, f"_{action}")(self._services(service), **options)
        except StoreUnavailable:
            raise CommandError("the store cannot be reached") from None
        finally:
            if ours:
                self._run(self._runtime.stop())

    def _services(self, service: str | None) -> list[str]:
        known = list(self._runtime.gateway.live.table.services)
        if service is not None and service not in known:
            raise CommandError(f"there is no service {service!r}")
        return known if service is None else [service]

    def _warm(
        self, services: list[str], *, paths: list[str], file: str | None, top: int, dry_run: bool, **_: Any
    ) -> None:
        recipes = [parse_reference(path) for path in [*paths, *(_lines(file) if file else ())]]
        if not recipes:
            recipes = self._run(self._runtime.warmer.most_requested(services, top))
        if dry_run:
            for recipe in recipes:
                self.stdout.write(f"{_name(recipe)}  {recipe.caller or ''}".rstrip())
            self.stdout.write(f"{len(recipes)} to warm")
            return
        done: list[bool] = []

        def told(recipe: ReplayableRequest, stored: bool) -> None:
            done.append(stored)
            self._progress(len(done), len(recipes), "" if stored else f"{_name(recipe)} is not stored")

        warmed, failed = self._run(self._runtime.warmer.warm(recipes, told))
        _tell("cache.warm", "", {"warmed": warmed, "failed": failed})
        self.stdout.write(f"{warmed} warmed, {failed} failed")

    def _progress(self, done: int, total: int, complaint: str) -> None:
        """A bar, where somebody is looking; each complaint on a line of its own."""
        if complaint:
            self.stderr.write(complaint)
        if self.stderr.isatty():
            filled = 30 * done // total
            self.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total}", ending="")
            if done == total:
                self.stderr.write("")

    def _flush(self, services: list[str], *, dry_run: bool, **_: Any) -> None:
        self._took_back(services, None, dry_run)

    def _invalidate(self, services: list[str], *, tags: list[str], dry_run: bool, **_: Any) -> None:
        for tag in tags:
            self._took_back(services, tag, dry_run)

    def _took_back(self, services: list[str], tag: str | None, dry_run: bool) -> None:
        what = f" with {tag}" if tag else ""
        for service in services:
            if dry_run:
                count = self._run(self._runtime.cache.usage(service, tag)).entries
            else:
                held = self._run(self._runtime.cache.usage_of([service], tag))
                count = self._run(self._runtime.cache.invalidate(service, None if tag is None else [tag]))
                after = ({"tag": tag} if tag else {}) | {"keysDeleted": count}
                _tell("cache.invalidate", service, after, before=held and held._asdict())
            self.stdout.write(f"{service}: {count} {'would go' if dry_run else 'gone'}{what}")

    def _stats(self, services: list[str], **_: Any) -> None:
        for service in services:
            usage = self._run(self._runtime.cache.usage(service))
            self.stdout.write(f"{service:<32} {usage.entries:>9} entries {usage.bytes:>13} bytes")

    def _run(self, coroutine: Any) -> Any:
        return self._runtime.submit(coroutine).result()


def _tell(action: str, service: str, after: dict[str, object], before: dict[str, int] | None = None) -> None:
    signals.operation_performed.send(
        Command, actor=command_user(), action=action, service=service, before=before, after=after
    )


def _lines(file: str) -> list[str]:
    text = sys.stdin.read() if file == "-" else Path(file).read_text()
    return [line for line in (line.strip() for line in text.splitlines()) if line and not line.startswith("#")]


def _name(recipe: ReplayableRequest) -> str:
    return (recipe.path + (b"?" + recipe.query if recipe.query else b"")).decode("latin-1")
