"""The configuration file's commands."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from routing import signals
from routing.configuration.document import LIMIT, Document, dump, parse
from routing.configuration.faults import ConfigurationError
from routing.database import revisions
from routing.database.actor import acting_as, command_user
from routing.database.apply import Changes, apply_document
from routing.database.loader import raw_document
from routing.models import ConfigurationRevision

LISTED = 20
"""How many revisions `history` shows."""


class Command(BaseCommand):
    help = "Services from and to a file: validate, diff, apply, export; and their history: history, rollback."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, what in (
            ("validate", "tell what is wrong with a file, line by line"),
            ("diff", "what applying a file would change; exits with 1 when it would change anything"),
            ("apply", "make the database say what a file says, all of it or nothing"),
        ):
            actions.add_parser(name, help=what, description=what).add_argument(
                "file", help="a file; - is standard input"
            )
        export = actions.add_parser(
            "export", help="write what the database says", description="Write the database's services."
        )
        export.add_argument("file", nargs="?", default="-", help="a file; standard output when left out")
        past = actions.add_parser(
            "history", help="who changed what, and when", description="Who changed what, and when."
        )
        past.add_argument("revision", nargs="?", type=int, help="one revision: what it changed, line by line")
        back = actions.add_parser("rollback", help="go back to a revision", description="Go back to a revision.")
        back.add_argument("revision", type=int, help="its number, from `history`")

    def handle(self, *, action: str, **options: Any) -> None:
        subject = options["revision"] if action in ("history", "rollback") else options["file"]
        try:
            with acting_as(command_user()):
                getattr(self, f"_{action}")(subject)
        except ConfigurationError as error:
            count = len(error.faults)
            raise CommandError(f"{subject}: {count} {'fault' if count == 1 else 'faults'}\n{error}") from None
        except OSError as error:
            raise CommandError(f"{subject}: {error.strerror}") from None

    def _history(self, number: int | None) -> None:
        if number is not None:
            revision = _revision(number)
            for line in revisions.diff_lines(revisions.previous_document(revision), revision.document):
                self.stdout.write(line)
            return
        for revision in ConfigurationRevision.objects.defer("document")[:LISTED]:
            when = f"{revision.created_at:%Y-%m-%d %H:%M:%S}Z"
            self.stdout.write(f"{revision.pk:>5}  {when}  {revision.actor:<20}  {revision.summary}")

    def _rollback(self, number: int) -> None:
        done = revisions.rollback(_revision(number), command_user())
        signals.operation_performed.send(
            Command,
            actor=command_user(),
            action="configuration.rollback",
            service="",
            before=done.before,
            after=done.after,
        )
        self._say(done.changes, f"rolled back to revision {number}")

    def _validate(self, file: str) -> None:
        document = self._read(file)
        self.stdout.write(f"{file}: valid, {_count(document.structure)}")

    def _diff(self, file: str) -> None:
        document = self._read(file)
        lines = list(_differences(document.structure, file))
        if not lines:
            self.stdout.write("no differences")
            return
        self.stdout.writelines(lines)
        sys.exit(1)

    def _apply(self, file: str) -> None:
        document = self._read(file)
        self._say(apply_document(document.structure), f"applied {file}: {_count(document.structure)}")

    def _say(self, changes: Changes, done: str) -> None:
        for verb, names in (("created", changes.created), ("updated", changes.updated), ("removed", changes.deleted)):
            for name in names:
                self.stdout.write(f"{verb} {name}")
        self.stdout.write(done if changes else "nothing to change")

    def _export(self, file: str) -> None:
        text = dump(raw_document())
        if file == "-":
            self.stdout.write(text, ending="")
        else:
            Path(file).write_text(text, encoding="utf-8")

    def _read(self, file: str) -> Document:
        """A file without fault. What is worth knowing about it is said on standard error."""
        document = parse(_content(file))
        absent: set[str] = set()
        document.services(lambda name: self._secret(name, absent))
        for name in sorted(absent):
            self.stderr.write(f"{name} is not set here; a gateway without it will not load this", self.style.WARNING)
        return document

    def _secret(self, name: str, absent: set[str]) -> str:
        """The variable's value; where it is not set, as on an operator's own machine, the rest is still checked."""
        value: str | None = settings.CONFIG.secret(name)
        if value is None:
            absent.add(name)
        return value or ""


def _revision(number: int) -> ConfigurationRevision:
    revision = ConfigurationRevision.objects.filter(pk=number).first()
    if revision is None:
        raise CommandError(f"there is no revision {number}")
    return revision


def _content(file: str) -> bytes:
    with sys.stdin.buffer if file == "-" else Path(file).open("rb") as source:
        return source.read(LIMIT + 1)


def _differences(structure: Any, file: str) -> Iterator[str]:
    before, after = dump(raw_document()).splitlines(), dump(structure).splitlines()
    for line in unified_diff(before, after, "database", file, lineterm=""):
        yield f"{line}\n"


def _count(structure: Any) -> str:
    count = len(structure.get("services") or {})
    return f"{count} service" if count == 1 else f"{count} services"
