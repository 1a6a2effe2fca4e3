"""The report of an OpenAPI document's import, as JSON and as text."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from routing.database.openapi import ImportOptions, ImportReport
from routing.openapi.operations import DocumentRoute


def describe(report: ImportReport, options: ImportOptions) -> dict[str, Any]:
    """The report as JSON."""
    merged = report.merged
    return {
        "service": report.service,
        "title": report.title,
        "version": report.version,
        "dry_run": options.dry_run,
        "changes": report.has_changes,
        "created": report.is_new,
        "document_changed": report.document_changed,
        "target": report.target,
        "trailing_slash": "same" if report.sets_trailing_slash else None,
        **{
            name: [{"path": path, "methods": list(methods)} for path, methods in getattr(merged, name)]
            for name in ("added", "removed", "kept", "left_out", "shadowed")
        },
        "changed": [msgspec.to_builtins(edit) for edit in merged.changed],
        "warnings": list(report.warnings),
    }


def lines(report: ImportReport, options: ImportOptions) -> Iterator[str]:
    """The report for people."""
    merged = report.merged
    if report.target:
        yield f"target {report.target}"
    if report.sets_trailing_slash:
        yield "paths: trailing_slash: same"
    yield from _each("added", merged.added)
    for edit in merged.changed:
        yield f"changed {edit.path}: {_methods(edit.old)} -> {_methods(edit.new)}"
    yield from _each("removed", merged.removed)
    yield from _each("kept", merged.kept, ": no longer in the document, but it has settings; --prune removes it")
    yield from _each("left out", merged.left_out, ": it was removed by hand; --restore adds it")
    yield from _each("warning:", merged.shadowed, " comes after a route with settings that matches the same paths")
    for warning in report.warnings:
        yield f"warning: {warning}"
    name = f"{report.title} {report.version}".strip() or "the document"
    if not report.has_changes:
        yield f"{name}: nothing to change"
    elif options.dry_run:
        yield f"{name}: not imported, this was a dry run"
    else:
        yield f"imported {name} for {report.service}: {len(merged.routes)} routes"


def _each(verb: str, operations: Iterable[DocumentRoute], more: str = "") -> Iterator[str]:
    for path, methods in operations:
        yield f"{verb} {_methods(methods)} {path}{more}"


def _methods(methods: Iterable[str]) -> str:
    return ", ".join(methods) or "any method"
