"""Rules of Traefik's routers: conjunctions of Host, Path, PathPrefix and Method, each with alternatives."""

import re
from typing import Final

import msgspec

from routing.configuration.faults import Path
from routing.imports.building import host as host_of
from routing.imports.report import Report

_MATCHER: Final = re.compile(r"(Host|Path|PathPrefix|Method)\(((?:\s*(?:`[^`]*`|\"[^\"]*\")\s*,?)+)\)")
_VALUE: Final = re.compile(r"`([^`]*)`|\"([^\"]*)\"")
MAX_RULE: Final = 4_000


class RouterRule(msgspec.Struct, frozen=True):
    """Empty parts match anything. `paths` are texts with whether they are prefixes."""

    hosts: tuple[str, ...] = ()
    paths: tuple[tuple[str, bool], ...] = ()
    methods: tuple[str, ...] = ()


def parse_rule(text: str, path: Path, report: Report) -> RouterRule | None:
    """The rule; None, with a note, if it is not of this form."""
    hosts: list[str] = []
    paths: list[tuple[str, bool]] = []
    methods: list[str] = []
    parts = _conjunction(text) if len(text) <= MAX_RULE else None
    seen: list[set[str]] = []
    for part in parts or ():
        kinds = {kind for kind, _ in part}
        if len({kind.removesuffix("Prefix") for kind in kinds}) > 1 or any(kinds & other for other in seen):
            parts = None
            break
        seen.append(kinds)
        for kind, value in part:
            if kind == "Host":
                found = host_of(value, path, report)
                hosts += [found] if found else []
            elif kind == "Method":
                methods.append(value.upper())
            else:
                paths.append((value, kind == "PathPrefix"))
    if not parts:
        report.left_out(path, "only Host, Path, PathPrefix and Method, combined with &&, have a counterpart")
        return None
    return RouterRule(tuple(hosts), tuple(paths), tuple(methods))


def _conjunction(text: str) -> list[list[tuple[str, str]]] | None:
    """The parts that are combined by `&&`, each a list of alternatives."""
    parts = []
    listed = text.split("&&")
    for part in listed:
        inner = part.strip()
        if inner.startswith("(") and inner.endswith(")"):
            inner = inner[1:-1]
        elif len(listed) > 1 and "||" in inner:  # && binds before ||
            return None
        alternatives: list[tuple[str, str]] = []
        for each in inner.split("||"):
            form = _MATCHER.fullmatch(each.strip())
            if form is None:
                return None
            alternatives += [(form[1], first or second) for first, second in _VALUE.findall(form[2])]
        parts.append(alternatives)
    return parts
