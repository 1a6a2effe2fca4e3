"""Validate, apply and export the configuration file, and show or restore earlier revisions."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Set
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from routing import signals
from routing.configuration.document import LIMIT, Document, dump, parse_file
from routing.configuration.faults import ConfigurationError, Fault, UnresolvedSecret
from routing.configuration.literals import literal_secrets
from routing.database import masking, revisions
from routing.database.actor import acting_as, command_user
from routing.database.apply import absent_names, apply_document
from routing.database.document_parts import owner, part_of
from routing.database.named_rows import Changes
from routing.management import config_diff, config_import
from routing.management.approval import add_emergency, submitted
from routing.management.config_expiry import check_expiry
from routing.models import ConfigurationRevision, own_hosts
from routing.presets import shipped
from routing.presets.expand import expand_all

HISTORY_LENGTH: Final = 20
"""How many revisions `history` shows."""
OUT_OF_SERVICE: Final = 3
"""Exit status of `apply`: applied, with services out of service because a secret is missing here."""
WOULD_DELETE: Final = 4
"""Exit status of `apply`: refused, since it would delete services."""
_FAILED: Final = {"diff": config_diff.FAILED, "import": config_import.FAILED}
"""Exit status of errors, by action, where it is not 1."""


class Command(BaseCommand):
    help = "Validate, diff, apply and export the configuration file; show its history and roll back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, what in (
            ("validate", "report the faults of a file, each with its line"),
            ("diff", "show what applying a file would change; exits with 1 if it would, and with 2 after an error"),
            ("apply", "make the database match a file, in one transaction"),
        ):
            action = actions.add_parser(name, help=what, description=what)
            action.add_argument("file", help="a file; - is standard input")
            if name == "diff":
                config_diff.add_arguments(action)
            else:
                action.add_argument(
                    "--allow-literal-secrets",
                    action="store_true",
                    help="accept secrets that the file contains as they are; the database will contain them too",
                )
            if name == "apply":
                _add_apply_options(action)
        export = actions.add_parser(
            "export",
            help="write the database's services to a file",
            description="Write the database's services to a file.",
        )
        export.add_argument("file", nargs="?", default="-", help="a file; by default, standard output")
        export.add_argument("--expand", action="store_true", help="write the settings of presets out")
        actions.add_parser("presets", help="list the presets", description="List the presets.")
        preset = actions.add_parser("preset", help="show a preset's file", description="Show a preset's file.")
        preset.add_argument("name", help="its name, from `presets`")
        importing = "make routes of an OpenAPI document's operations, or a file of that of another gateway"
        config_import.add_arguments(actions.add_parser("import", help=importing, description=importing))
        history = actions.add_parser(
            "history", help="show who changed what, and when", description="Show who changed what, and when."
        )
        history.add_argument("revision", nargs="?", type=int, help="show what this revision changed, line by line")
        rollback = actions.add_parser("rollback", help="restore a revision", description="Restore a revision.")
        rollback.add_argument("revision", type=int, help="the revision's number, from `history`")
        add_emergency(rollback)

    def handle(self, *, action: str, **options: Any) -> None:
        subject = next((options[name] for name in ("revision", "file", "name") if name in options), action)
        if options.get("file") == "":
            raise CommandError("the name of the file is empty", returncode=_FAILED.get(action, 1))
        try:
            with acting_as(command_user()):
                if action in ("apply", "diff", "export", "import", "presets", "rollback", "validate"):
                    getattr(self, f"_{action}")(**options)
                else:
                    getattr(self, f"_{action}")(subject)
        except ConfigurationError as error:
            count = len(error.faults)
            message = f"{subject}: {count} {'fault' if count == 1 else 'faults'}\n{error}"
            raise CommandError(message, returncode=_FAILED.get(action, 1)) from None
        except BrokenPipeError:
            raise  # nobody reads the output any more: that is no fault of the file
        except OSError as error:
            raise CommandError(f"{subject}: {error.strerror}", returncode=_FAILED.get(action, 1)) from None

    def _history(self, number: int | None) -> None:
        if number is not None:
            revision = _revision(number)
            for line in revisions.diff_lines(revisions.previous_document(revision), revision.document):
                self.stdout.write(line)
            return
        for revision in ConfigurationRevision.objects.defer("document")[:HISTORY_LENGTH]:
            when = f"{revision.created_at:%Y-%m-%d %H:%M:%S}Z"
            self.stdout.write(f"{revision.pk:>5}  {when}  {revision.actor:<20}  {revision.summary}")

    def _rollback(self, *, revision: int, emergency: str | None, **_: object) -> None:
        found = _revision(revision)
        result = submitted(lambda: revisions.rollback(found, command_user()), f"config rollback {revision}", emergency)
        signals.operation_performed.send(
            Command,
            actor=command_user(),
            action="configuration.rollback",
            service="",
            before=result.before,
            after=result.after,
        )
        self._report(result.changes, f"rolled back to revision {revision}")

    def _validate(self, *, file: str, allow_literal_secrets: bool, **_: object) -> None:
        document = self._read(file)
        self._check_literals(document, allow_literal_secrets)
        check_expiry(document)
        self.stdout.write(f"{file}: valid, {_count(document.structure)}")

    def _diff(self, *, file: str, **options: Any) -> None:
        document = parse_file(_content(file)) if options["url"] else self._read(file)
        self._check_literals(document, allowed=True)
        status = config_diff.run(document, file, options, self.stdout)
        if status:
            sys.exit(status)

    def _apply(
        self,
        *,
        file: str,
        prune: bool,
        only: list[str] | None,
        allow_missing_secrets: bool,
        allow_literal_secrets: bool,
        emergency: str | None,
        **_: object,
    ) -> None:
        document = masking.unmasked(original := parse_file(_content(file)))
        structure = original.structure if only is None else _selected(original.structure, only)
        self._check_literals(msgspec.structs.replace(original, structure=structure), allow_literal_secrets)
        selected = None if only is None else set(only)
        missing = _missing_secrets(document, selected)
        if not allow_missing_secrets and not missing:
            check_expiry(document, selected)
        if missing and not allow_missing_secrets:
            self.stderr.write("--allow-missing-secrets applies the file with the services concerned out of service")
            raise ConfigurationError(missing)
        delete = absent_names(structure) if only is None else ()
        if delete and not prune:
            self._confirm(file, delete)
        apply = partial(apply_document, structure, delete=delete, is_decoded=True)
        changes = submitted(apply, f"config apply {file}", emergency, whole=True)
        self._report(changes, f"applied {file}: {_count(structure)}")
        for fault in missing:
            self.stderr.write(str(fault), self.style.ERROR)
        if missing:
            names = ", ".join(sorted({owner(fault, structure) for fault in missing}))
            raise CommandError(f"out of service: {names}", returncode=OUT_OF_SERVICE)

    def _confirm(self, file: str, names: Iterable[str]) -> None:
        """Ask before services are deleted. Raises CommandError if the answer is no, or there is nobody to ask."""
        question = f"{file} does not contain what would be deleted: {', '.join(names)}"
        if file != "-" and sys.stdin.isatty():
            self.stdout.write(question)
            if input("Delete them? [y/N] ").strip().lower() in ("y", "yes"):
                return
        raise CommandError(
            f"{question}\nnothing was changed; use --prune to delete them, or --only SERVICE to apply a part",
            returncode=WOULD_DELETE,
        )

    def _report(self, changes: Changes, summary: str) -> None:
        for verb, names in (("created", changes.created), ("updated", changes.updated), ("removed", changes.deleted)):
            for name in names:
                self.stdout.write(f"{verb} {name}")
        self.stdout.write(summary if changes else "nothing to change")

    def _check_literals(self, document: Document, allowed: bool) -> None:
        """Raises ConfigurationError, or warns if they are `allowed`, for secrets that the file contains as they are."""
        faults = document.located(literal_secrets(document.structure))
        if faults and not allowed:
            self.stderr.write("--allow-literal-secrets accepts these secrets as they are")
            raise ConfigurationError(faults)
        for fault in faults:
            self.stderr.write(f"warning: {fault}", self.style.WARNING)

    def _presets(self, **_: object) -> None:
        width = max(map(len, shipped.names()))
        for name in shipped.names():
            self.stdout.write(f"{name:<{width}}  {shipped.preset(name).title}")

    def _preset(self, name: str) -> None:
        try:
            self.stdout.write(shipped.text(name), ending="")
        except ValueError as error:
            raise CommandError(str(error)) from None

    def _export(self, *, file: str, expand: bool, **_: object) -> None:
        masked = masking.whole_document()
        structure = masked.structure
        if expand:
            structure = expand_all(structure)
        text = dump(structure)
        if masked.secrets:
            self.stderr.write("secrets are masked: where a file says `masked:...`, `apply` keeps the stored value")
        if file == "-":
            self.stdout.write(text, ending="")
        else:
            Path(file).write_text(text, encoding="utf-8")

    def _import(self, **options: Any) -> None:
        content = config_import.content_of(options["file"], sys.stdin.buffer)
        status = config_import.run(content, options, self.stdout, self.stderr)
        if status:
            sys.exit(status)

    def _read(self, file: str) -> Document:
        """Parse and validate a file. Raises ConfigurationError; warns about secrets that are missing here, and about
        what may not be meant.
        """
        document = parse_file(_content(file))
        unset: set[str] = set()
        services = masking.unmasked(document).services(lambda name: self._secret(name, unset))
        for missing in sorted(unset):
            self.stderr.write(f"{missing}; the gateway needs it to load this file", self.style.WARNING)
        for warning in document.warnings(services, own_hosts.warnings(services)):
            self.stderr.write(f"warning: {warning}", self.style.WARNING)
        return document

    def _secret(self, name: str, unset: set[str]) -> str:
        """The secret, or an empty text if it is missing here, so that the rest of the file can be validated."""
        try:
            value: str | None = settings.CONFIG.secret(name)
        except UnresolvedSecret as error:
            unset.add(str(error))
            return ""
        if value is None:
            unset.add(f"{name} is not set here")
        return value or ""


def _add_apply_options(parser: ArgumentParser) -> None:
    parser.add_argument("--prune", action="store_true", help="delete the services that the file does not contain")
    parser.add_argument(
        "--only", action="append", metavar="SERVICE", help="apply this service only, and delete none; repeatable"
    )
    parser.add_argument(
        "--allow-missing-secrets",
        action="store_true",
        help=f"put services whose secrets are missing here out of service; exits with {OUT_OF_SERVICE}. "
        "Accepts certificates that have expired too",
    )
    add_emergency(parser)


def _selected(structure: Any, names: list[str]) -> Any:
    try:
        return part_of(structure, names)
    except LookupError as error:
        raise CommandError(str(error)) from None


def _missing_secrets(document: Document, only: Set[str] | None) -> list[Fault]:
    """Faults of secrets that are missing here. Raises ConfigurationError with all faults if there are others."""
    try:
        document.services(settings.CONFIG.secret, is_part=only is not None)
    except ConfigurationError as error:
        if any(not fault.unresolved for fault in error.faults):
            raise
        return [fault for fault in error.faults if only is None or owner(fault, document.structure) in only]
    return []


def _revision(number: int) -> ConfigurationRevision:
    revision = ConfigurationRevision.objects.filter(pk=number).first()
    if revision is None:
        raise CommandError(f"there is no revision {number}")
    return revision


def _content(file: str) -> bytes:
    with sys.stdin.buffer if file == "-" else Path(file).open("rb") as source:
        return source.read(LIMIT + 1)


def _count(structure: Any) -> str:
    count = len(structure.get("services") or {})
    return f"{count} service" if count == 1 else f"{count} services"
