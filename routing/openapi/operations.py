"""The operations of an OpenAPI document as routes: their paths as patterns, and their methods."""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from resilience.cache.policy import CALLER_FIELDS
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.values import SUPPORTED_METHODS, pattern
from routing.openapi.document import path_items

_TEMPLATE: Final = re.compile(r"\{([^{}]*)\}")
_SPREADS: Final = re.compile(r"\{(?:[^{}]*/|[+*]{1,2}[^{}:]*\}|[^{}:]*[+*]\}|[^{}:]*:\s*(?:\.[+*]|path)\})")
"""A parameter with slashes: `{name=projects/*}`, `{+path}` and `{path*}` of RFC 6570, `{proxy+}` of Amazon's gateway,
`{*path}` of Spring and ASP.NET, `{path:.*}` of JAX-RS, `{name:path}` of Starlette.
"""
_LONGEST: Final = 500
"""The longest path of a route, in characters."""


class DocumentRoute(NamedTuple):
    """A route that the document asks for."""

    path: str
    methods: tuple[str, ...]


class Operations(NamedTuple):
    """`has_trailing_slashes`: paths end with a slash, which patterns cannot."""

    routes: tuple[DocumentRoute, ...]
    warnings: tuple[str, ...]
    has_trailing_slashes: bool


def shape(path: str) -> str:
    """What patterns have in common that match the same paths."""
    return "/".join("{}" if segment.startswith("{") else segment for segment in path.split("/"))


def operations(structure: dict[str, Any]) -> Operations:
    """One route for each path with its methods, in document order. Raises ConfigurationError."""
    found: dict[str, tuple[str, list[str]]] = {}
    warnings: list[str] = []
    slashes = False
    for path, item in path_items(structure):
        methods = [method for method in SUPPORTED_METHODS if isinstance(item.get(method.lower()), dict)]
        if not methods:
            continue
        route = _pattern(path, warnings)
        slashes = slashes or (path.endswith("/") and path != "/")
        _, known = found.setdefault(shape(route), (route, []))
        known += [method for method in methods if method not in known]
        if "servers" in item or any("servers" in item[method.lower()] for method in methods):
            warnings.append(f"{path}: its own 'servers' are not used: a route is sent to its service's targets")
    if not found:
        warnings.append("the document has no operations")
    routes = tuple(DocumentRoute(path, _ordered(methods)) for path, methods in found.values())
    return Operations(routes, tuple(warnings), slashes)


def _ordered(methods: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(methods, key=SUPPORTED_METHODS.index))


def _pattern(path: str, warnings: list[str]) -> str:
    """A document's path as a route's. Appends to `warnings` where it matches more. Raises ConfigurationError."""
    plain = path
    for mark in "?#":
        if mark in plain:
            plain = plain.partition(mark)[0]
            warnings.append(f"{path}: what follows '{mark}' is not part of a route's path")
    spread = _SPREADS.search(plain)
    if spread:
        plain = f"{plain[: spread.start()].rpartition('/')[0]}/*"
        warnings.append(f"{path}: a parameter with slashes; the route is {plain}")
    try:
        names: set[str] = set()
        segments = [_segment(segment, path, names, warnings) for segment in plain.strip("/").split("/")]
        inner = [_name("any", names) if segment == "*" else segment for segment in segments[:-1]]
        found = pattern(f"/{'/'.join([*inner, segments[-1]])}")
        if len(found) > _LONGEST:
            raise ValueError(f"longer than {_LONGEST} characters")
    except ValueError as error:
        raise ConfigurationError([Fault(("paths", path), str(error))]) from None
    return found


def _segment(segment: str, path: str, names: set[str], warnings: list[str]) -> str:
    """A segment; one that has a parameter beside other text is a parameter as a whole. Raises ValueError."""
    found = _TEMPLATE.findall(segment)
    if not found:
        decoded = unquote(segment)
        if "/" in decoded:
            raise ValueError("an encoded slash cannot be part of a route's path")
        return "*" if "*" in decoded else decoded
    if _TEMPLATE.fullmatch(segment) is None:
        warnings.append(f"{path}: {segment} matches any segment, since a parameter is a whole segment of a route")
    return _name("_".join(found), names)


def _name(text: str, names: set[str]) -> str:
    """A parameter with a name that patterns accept, and that is not among `names`, to which it is added."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text) or "any"
    if name[0].isdigit() or name in CALLER_FIELDS:
        name = f"_{name}"
    unique, number = name, 1
    while unique in names:
        number += 1
        unique = f"{name}_{number}"
    names.add(unique)
    return f"{{{unique}}}"
