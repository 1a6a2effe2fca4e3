"""Reads an OpenAPI document. Nothing is fetched: only references within the document are followed."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from routing.configuration.anchors import parse_with_aliases
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.json_text import parse_json

MAX_BYTES: Final = 16_000_000
"""Largest document in JSON. One in YAML is limited as the configuration file is."""
MAX_DEPTH: Final = 100
"""The deepest nesting of a document in JSON: schemas within schemas."""
MAX_REFERENCES: Final = 32
"""Longest chain of references to a path item."""
_VERSION: Final = re.compile(r"3\.[012](?:\.\d+)?(?:-\S+)?")
_EXTERNAL: Final = "is outside the document and is never fetched: bundle the document first"


class OpenApi(msgspec.Struct, frozen=True):
    """A document, its JSON, and what in it may not be what its author meant."""

    structure: dict[str, Any]
    text: str
    title: str
    version: str
    warnings: tuple[str, ...] = ()


def read(content: bytes) -> OpenApi:
    """Read OpenAPI 3 as JSON or YAML. Raises ConfigurationError."""
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        structure = parse_json(content, MAX_BYTES, MAX_DEPTH)
    else:
        structure = parse_with_aliases(content)
    if not isinstance(structure, dict):
        raise ConfigurationError([Fault((), "an OpenAPI document is a mapping")])
    _check_version(structure)
    info = structure.get("info")
    if not isinstance(info, dict):
        raise ConfigurationError([Fault(("info",), "must be a mapping with a title and a version")])
    _check_paths(structure)
    title, version = (str(info.get(name) or "")[:200] for name in ("title", "version"))
    return OpenApi(structure, _encode(structure), title, version, tuple(_reference_warnings(structure)))


def _encode(structure: dict[str, Any]) -> str:
    try:
        return json.dumps(structure, separators=(",", ":"), allow_nan=False)
    except ValueError as error:  # YAML has numbers that JSON lacks
        raise ConfigurationError([Fault((), f"cannot be written as JSON: {error}")]) from None


def _check_version(structure: dict[str, Any]) -> None:
    if "swagger" in structure:
        message = "Swagger 2.0 is not read: convert the document to OpenAPI 3 first, for instance with swagger2openapi"
        raise ConfigurationError([Fault(("swagger",), message)])
    version = structure.get("openapi")
    if version is None:
        raise ConfigurationError([Fault((), "no OpenAPI document: it has no 'openapi' with its version")])
    if not isinstance(version, str | float) or _VERSION.fullmatch(str(version)) is None:
        raise ConfigurationError([Fault(("openapi",), f"OpenAPI 3.0 and 3.1 are read, not {str(version)[:40]!r}")])


def _check_paths(structure: dict[str, Any]) -> None:
    paths = structure.get("paths")
    if paths is None and str(structure["openapi"]).startswith("3.0"):
        raise ConfigurationError([Fault((), "no 'paths': OpenAPI 3.0 requires them")])
    if paths is not None and not isinstance(paths, dict):
        raise ConfigurationError([Fault(("paths",), "must be a mapping of paths")])


def path_items(structure: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each path with its operations, in document order. Raises ConfigurationError for one that cannot be read."""
    for path, item in (structure.get("paths") or {}).items():
        if path.startswith("x-"):
            continue
        if not path.startswith("/"):
            raise ConfigurationError([Fault(("paths",), "a path must begin with '/'", key=path)])
        try:
            yield path, _followed(structure, {} if item is None else item)
        except ValueError as error:
            raise ConfigurationError([Fault(("paths", path), str(error))]) from None


def _followed(structure: dict[str, Any], item: Any) -> dict[str, Any]:
    """A path item, with what it refers to beneath its own operations. Raises ValueError."""
    found: dict[str, Any] = {}
    for _ in range(MAX_REFERENCES):
        if not isinstance(item, dict):
            raise ValueError("must be a mapping of methods to operations")
        found = {**item, **found}
        reference = item.get("$ref")
        if reference is None:
            return found
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise ValueError(f"{str(reference)[:100]!r} {_EXTERNAL}")
        item = resolve(structure, reference)
    raise ValueError("a circular reference")


def resolve(structure: Any, reference: str) -> Any:
    """What `#/...` refers to. Raises ValueError if it is not there."""
    value = structure
    for step in reference.removeprefix("#").removeprefix("/").split("/") if reference != "#" else ():
        key = _unescaped(step)
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key[:9]) < len(value):
            value = value[int(key[:9])]
        else:
            raise ValueError(f"{reference[:100]!r} refers to nothing in the document")
    return value


def _unescaped(step: str) -> str:
    """A step of a JSON pointer in a URI fragment (RFC 6901 section 6)."""
    decoded = re.sub(r"%([0-9A-Fa-f]{2})", lambda code: chr(int(code[1], 16)), step)
    return decoded.replace("~1", "/").replace("~0", "~")


def _reference_warnings(structure: Any) -> Iterator[str]:
    """One for all references that cannot be followed, each kind with the first."""
    external: list[str] = []
    missing: list[str] = []
    for reference in set(_references(structure)):
        if not reference.startswith("#"):
            external.append(reference)
            continue
        try:
            resolve(structure, reference)
        except ValueError:
            missing.append(reference)
    if external:
        yield f"{min(external)[:100]!r} {_EXTERNAL} ({len(external)} such references)"
    if missing:
        yield f"{min(missing)[:100]!r} refers to nothing in the document ({len(missing)} such references)"


def _references(structure: Any) -> Iterator[str]:
    pending = [structure]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            if isinstance(item.get("$ref"), str):
                yield item["$ref"]
            pending += [value for key, value in item.items() if key not in ("example", "examples", "default", "enum")]
