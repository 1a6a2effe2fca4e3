"""`config import`: makes routes of an OpenAPI document's operations."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.core.management.base import OutputWrapper

from routing.database.openapi import ImportOptions, import_document
from routing.database.openapi_report import describe, lines
from routing.openapi.document import MAX_BYTES, read

CHANGES: Final = 1
"""Exit status of a dry run: the import would change something."""
FAILED: Final = 2
"""Exit status if nothing was imported because of an error."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", help="an OpenAPI 3.0 or 3.1 document, JSON or YAML; - is standard input")
    parser.add_argument("--service", required=True, help="the service that the document describes")
    parser.add_argument("--targets", action="store_true", help="make the document's first server the service's target")
    parser.add_argument("--no-routes", action="store_true", help="store the document only, without routes")
    parser.add_argument(
        "--prune", action="store_true", help="remove routes with settings, too, that the document no longer has"
    )
    parser.add_argument("--restore", action="store_true", help="add routes again that were removed by hand")
    parser.add_argument("--dry-run", action="store_true", help=f"change nothing; exits with {CHANGES} if it would")
    parser.add_argument("--json", action="store_true", help="write the report as JSON")


def run(content: bytes, options: dict[str, Any], out: OutputWrapper) -> int:
    """Import, write the report and return the exit status. Raises ConfigurationError, without a change."""
    choices = ImportOptions(
        routes=not options["no_routes"],
        targets=options["targets"],
        prune=options["prune"],
        restore=options["restore"],
        dry_run=options["dry_run"],
    )
    report = import_document(options["service"], read(content), choices)
    if options["json"]:
        out.write(f"{json.dumps(describe(report, choices), indent=2)}\n")
    else:
        out.writelines(f"{line}\n" for line in lines(report, choices))
    return CHANGES if choices.dry_run and report.has_changes else 0


def content_of(file: str, standard_input: Any) -> bytes:
    """Raises OSError."""
    with standard_input if file == "-" else Path(file).open("rb") as source:
        content: bytes = source.read(MAX_BYTES + 1)
        return content
