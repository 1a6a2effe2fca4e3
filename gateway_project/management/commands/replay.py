"""Show what a draft of the configuration would change for the requests of the request log."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from metrics.replay.replay import DEFAULT_LIMIT, MAX_LIMIT, Selection, replay
from metrics.replay.report import to_document
from metrics.runtime_access import run_on_loop
from routing import runtime
from routing.configuration.document import LIMIT, parse_file
from routing.configuration.faults import ConfigurationError
from routing.database.actor import acting_as, command_user
from routing.database.document_diff import text_lines
from routing.database.draft import ChangeConfiguration, apply_file, approve_proposal, restore_revision
from routing.errors import GatewayError
from routing.models import ConfigurationProposal, ConfigurationRevision

SHOWN_EXAMPLES: Final = 10


class Command(BaseCommand):
    help = "Show what a draft of the configuration would change for recorded requests. Nothing is changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        draft = parser.add_mutually_exclusive_group(required=True)
        draft.add_argument("file", nargs="?", help="a draft of the configuration file; - is standard input")
        draft.add_argument("--revision", type=int, help="replay a rollback to this revision")
        draft.add_argument("--proposal", type=int, help="replay the approval of this proposal")
        parser.add_argument("--prune", action="store_true", help="the draft deletes what it does not contain")
        parser.add_argument("--service", default="", help="only requests to this service")
        parser.add_argument("--from", dest="start", type=_time, help="earliest start, as 2026-01-31T12:00:00Z")
        parser.add_argument("--to", dest="end", type=_time, help="start, excluded")
        parser.add_argument(
            "--limit", type=_limit, default=DEFAULT_LIMIT, help=f"the latest requests, by default {DEFAULT_LIMIT}"
        )
        parser.add_argument("--json", action="store_true", help="write the result as JSON")

    def handle(self, **options: Any) -> None:
        process = runtime.current()
        standalone = not process.started
        if standalone and settings.CONFIG.redis_server is None:
            raise CommandError(
                "without REDIS_URL the requests are in the gateway's own memory: use its page or its API"
            )
        process.opened()
        try:
            with acting_as(command_user()):
                self._run(options)
        except ConfigurationError as error:
            raise CommandError(f"{options['file'] or 'the change'}: {error}") from None
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}") from None
        except GatewayError as error:
            raise CommandError(error.detail) from None
        finally:
            if standalone:
                run_on_loop(process.stop())

    def _run(self, options: dict[str, Any]) -> None:
        start, end = (None if options[name] is None else options[name].timestamp() for name in ("start", "end"))
        selection = Selection(service=options["service"], start=start, end=end, limit=options["limit"])
        document = to_document(replay(_change(options), selection))
        if options["json"]:
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=2))
            return
        for line in _lines(document):
            self.stdout.write(line)


def _change(options: dict[str, Any]) -> ChangeConfiguration:
    """Raises CommandError, ConfigurationError and OSError."""
    if options["revision"] is not None:
        revision = ConfigurationRevision.objects.filter(pk=options["revision"]).first()
        if revision is None:
            raise CommandError(f"there is no revision {options['revision']}")
        return restore_revision(revision)
    if options["proposal"] is not None:
        proposal = ConfigurationProposal.objects.filter(pk=options["proposal"]).first()
        if proposal is None:
            raise CommandError(f"there is no proposal {options['proposal']}")
        return approve_proposal(proposal)
    with sys.stdin.buffer if options["file"] == "-" else Path(options["file"]).open("rb") as source:
        return apply_file(parse_file(source.read(LIMIT + 1)), prune=options["prune"])


def _lines(document: dict[str, Any]) -> Iterator[str]:
    yield from text_lines(document["configuration"])
    yield from (f"warning: {warning}" for warning in document["warnings"])
    yield f"{_requests(document['changed'])} of {_requests(document['replayed'])} requests would end differently"
    if document["cacheChanged"]["records"]:
        yield f"{_requests(document['cacheChanged'])} responses would be stored differently"
    yield f"{'':<10}{'now':>12}{'draft':>12}"
    for verdict, count in document["now"].items():
        yield f"{verdict:<10}{_requests(count):>12}{_requests(document['draft'][verdict]):>12}"
    for each in document["transitions"]:
        yield f"{_requests(each)} requests: {each['now']} -> {each['draft']}"
    for each in document["examples"][:SHOWN_EXAMPLES]:
        now, draft = each["now"], each["draft"]
        what = f"{now['status']} {now['verdict']} -> {draft['status']} {draft['verdict']}"
        yield f"  {each['id']}  {each['method']} {each['target']}  {what} ({', '.join(each['differences'])})"
    yield from (f"note: {note}" for note in document["notes"])


def _requests(count: dict[str, Any]) -> str:
    return f"{count['requests']:,.0f}"


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a time such as 2026-01-31T12:00:00Z") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _limit(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_LIMIT:
        raise ArgumentTypeError(f"must be from 1 to {MAX_LIMIT}")
    return int(text)
