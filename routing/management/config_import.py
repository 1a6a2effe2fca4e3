"""`config import`: makes routes of an OpenAPI document's operations, or a file of another gateway's."""

import json
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError, OutputWrapper

from routing.configuration.decode import VERSION
from routing.database.openapi import ImportOptions, import_document
from routing.database.openapi_report import describe, lines
from routing.imports import products
from routing.imports.products import PRODUCTS
from routing.management import config_convert
from routing.management.approval import add_emergency, submitted
from routing.openapi.document import MAX_BYTES, read

OPENAPI: Final = "openapi"
CHANGES: Final = 1
"""Exit status of a dry run: the import would change something."""
FAILED: Final = 2
"""Exit status if nothing was imported because of an error."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file",
        help="an OpenAPI 3 document, or a file of decK (Kong), KrakenD, LiteLLM or Traefik; - is standard input",
    )
    parser.add_argument("--service", help="the service that the OpenAPI document describes")
    parser.add_argument("--from", dest="product", choices=(*PRODUCTS, OPENAPI), help="what the file is of")
    parser.add_argument(
        "--output", metavar="FILE", help="write the configuration to a new file, not to standard output"
    )
    parser.add_argument("--targets", action="store_true", help="make the document's first server the service's target")
    parser.add_argument("--no-routes", action="store_true", help="store the document only, without routes")
    parser.add_argument(
        "--prune", action="store_true", help="remove routes with settings, too, that the document no longer has"
    )
    parser.add_argument("--restore", action="store_true", help="add routes again that were removed by hand")
    parser.add_argument("--dry-run", action="store_true", help=f"change nothing; exits with {CHANGES} if it would")
    parser.add_argument("--json", action="store_true", help="write the report as JSON")
    add_emergency(parser)


def run(content: bytes, options: dict[str, Any], out: OutputWrapper, errors: OutputWrapper) -> int:
    """Import, write the report and return the exit status. After an exception, nothing has changed.

    Raises ConfigurationError, CommandError and OSError.
    """
    if options["product"] != OPENAPI and not options["service"]:
        structure = products.read(content)
        product = options["product"] or products.product_of(structure)
        if product is not None:
            return config_convert.run(structure, product, options, out, errors)
        if structure.get("version") == VERSION and "services" in structure:
            raise CommandError("this is a file of this gateway: `config apply` reads it", returncode=FAILED)
    return _import_openapi(content, options, out)


def _import_openapi(content: bytes, options: dict[str, Any], out: OutputWrapper) -> int:
    if not options["service"]:
        message = (
            "this is no file of decK, KrakenD, LiteLLM or Traefik that is recognized: --from says which it is; "
            "an OpenAPI document needs --service"
        )
        raise CommandError(message, returncode=FAILED)
    if options["product"] not in (None, OPENAPI) or options["output"]:
        raise CommandError("--service is for OpenAPI documents, whose routes are stored", returncode=FAILED)
    choices = ImportOptions(
        routes=not options["no_routes"],
        targets=options["targets"],
        prune=options["prune"],
        restore=options["restore"],
        dry_run=options["dry_run"],
    )
    work = partial(import_document, options["service"], read(content), choices)
    report = work() if choices.dry_run else submitted(work, f"config import {options['file']}", options["emergency"])
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
