"""Paths that are regular expressions as patterns of routes, where they are one name or text for each segment."""

import re
from typing import Final

from routing.configuration.faults import Path
from routing.imports.building import route_pattern
from routing.imports.report import Report

_NAMED: Final = re.compile(r"\(\?P?<([A-Za-z_][A-Za-z0-9_]*)>[^()]*\)")
_ANY: Final = re.compile(r"(?:\((?:\?:)?)?(?:\[\^/\]|\[[A-Za-z0-9_\-\\.]+\]|\\[dw]|\.)[+*]\)?")
_LITERAL: Final = re.compile(r"[A-Za-z0-9_~:@!,;=&'-]+|\\[.\-_]")


def pattern_of(expression: str, path: Path, report: Report) -> str | None:
    """The pattern, with a note of what it matches besides; None, with a note, if there is none."""
    text = expression.removeprefix("^")
    is_whole = text.endswith("$")
    text = text.removesuffix("$").removesuffix("/?")
    segments, number = [], 0
    for segment in text.removeprefix("/").split("/"):
        found = _segment(segment, number)
        if found is None:
            report.left_out(path, "this regular expression has no pattern of a route")
            return None
        number += found.startswith("{")
        segments.append(found)
    pattern = route_pattern("/" + "/".join(segments), path, report, is_prefix=not is_whole)
    if pattern is not None and number:
        report.changed(path, f"the pattern {pattern} accepts any text where the expression has classes of characters")
    return pattern


def _segment(segment: str, number: int) -> str | None:
    named = _NAMED.fullmatch(segment)
    if named is not None:
        return f"{{{named[1]}}}"
    if _ANY.fullmatch(segment):
        return f"{{part{number + 1}}}"
    parts = _LITERAL.findall(segment)
    return re.sub(r"\\(.)", r"\1", segment) if segment and "".join(parts) == segment else None
