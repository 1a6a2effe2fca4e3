"""`config import` of another gateway's file: writes a configuration file, and reports what differs or is left out."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
from django.core.management.base import CommandError, OutputWrapper

from routing.configuration.document import dump
from routing.imports.products import convert
from routing.imports.report import Imported, NoteKind

FAILED: Final = 2
INCOMPLETE: Final = 3
"""Exit status if something in the file has no counterpart. What has one was written."""
_OPENAPI: Final = ("service", "targets", "no_routes", "prune", "restore", "dry_run")
"""Options of imports of OpenAPI documents."""


def run(
    structure: dict[str, Any], product: str, options: dict[str, Any], out: OutputWrapper, errors: OutputWrapper
) -> int:
    """Write the configuration and the report, and return the exit status.

    Without `output`, the configuration is written to `out` and the report to `errors`. Raises ConfigurationError,
    CommandError and OSError.
    """
    unsuitable = [f"--{name.replace('_', '-')}" for name in _OPENAPI if options[name]]
    if unsuitable:
        raise CommandError(f"{', '.join(unsuitable)}: for OpenAPI documents only", returncode=FAILED)
    imported = convert(structure, product)
    text = dump(imported.structure)
    if options["output"] is None:
        out.write(text, ending="")
        report = errors
    else:
        _create(options["output"], text)
        report = out
    if options["json"]:
        report.write(json.dumps(_described(imported), indent=2, ensure_ascii=False))
    else:
        report.writelines(f"{line}\n" for line in _lines(imported))
    return 0 if imported.is_complete else INCOMPLETE


def _create(file: str, text: str) -> None:
    try:
        with Path(file).open("x", encoding="utf-8") as created:
            created.write(text)
    except FileExistsError:
        raise CommandError(f"{file} exists already: nothing was written", returncode=FAILED) from None


def _described(imported: Imported) -> dict[str, Any]:
    return {
        "product": imported.product,
        "services": list(imported.structure["services"]),
        "complete": imported.is_complete,
        "notes": [msgspec.to_builtins(note) for note in imported.notes],
    }


def _lines(imported: Imported) -> list[str]:
    count = len(imported.structure["services"])
    lines = [str(note) for kind in NoteKind for note in imported.notes if note.kind is kind]
    left = sum(note.kind is NoteKind.LEFT_OUT for note in imported.notes)
    services = "1 service" if count == 1 else f"{count} services"
    return [*lines, f"{imported.product}: {services}; without a counterpart: {left}"]
