"""Representations of documents as JSON or YAML: which one a request accepts, and which one it sends."""

import json
from collections.abc import Collection
from typing import Any, Final

from rest_framework.request import Request

from metrics.media_ranges import media_ranges
from routing.configuration.differences import pointer
from routing.configuration.document import Document, dump_value, parse
from routing.configuration.faults import ConfigurationError, Path
from routing.configuration.json_text import parse_json
from routing.configuration_errors import DocumentFault, InvalidDocument, NotAcceptable
from routing.errors import BodyTooLarge, UnsupportedMediaType

JSON: Final = "application/json"
YAML: Final = "application/yaml"
"""RFC 9512."""
YAML_TYPES: Final = (YAML, "text/yaml", "application/x-yaml", "text/x-yaml")
MERGE_PATCH: Final = "application/merge-patch+json"
MAX_JSON_BYTES: Final = 5_000_000
MAX_DOCUMENT_BYTES: Final = 10_000_000
"""The longest OpenAPI document in JSON."""
MAX_YAML_BYTES: Final = 256_000
"""YAML takes a hundred times as long to parse as JSON."""
MAX_ERRORS: Final = 100


def accepted(request: Request) -> str:
    """The media type of the response: JSON unless the request prefers YAML. Raises NotAcceptable."""
    ranges = media_ranges(request.headers.get("Accept", "") or "*/*")
    weights = {media: _weight(media, ranges) for media in (JSON, *YAML_TYPES)}
    best = max(weights, key=lambda media: weights[media])  # the first of equals
    if weights[best] <= 0:
        raise NotAcceptable(f"there are {JSON} and {YAML}")
    return best


def _weight(media: str, ranges: dict[str, float]) -> float:
    """The weight of the most specific range that matches."""
    kind = media.partition("/")[0]
    return next((ranges[each] for each in (media, f"{kind}/*", "*/*") if each in ranges), 0.0)


def write(value: Any, media: str) -> bytes:
    """A document or a report in this media type."""
    if media == JSON:
        return json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"
    return dump_value(value).encode()


def content_type(media: str) -> str:
    return f"{media}; charset=utf-8" if media.startswith("text/") else media


def read(request: Request, *types: str) -> Document:
    """The document in the request's body, as JSON or YAML, or another of `types` in JSON.

    Raises UnsupportedMediaType, BodyTooLarge and InvalidDocument.
    """
    is_json = _is_json(request, types)
    content = body(request, MAX_JSON_BYTES if is_json else MAX_YAML_BYTES)
    try:
        return Document(parse_json(content, MAX_JSON_BYTES), {}) if is_json else parse(content)
    except ConfigurationError as error:
        raise invalid(error, with_lines=True) from None


def content_of(request: Request, limit: int) -> bytes:
    """The body, in JSON or YAML, as it was sent. Raises UnsupportedMediaType and BodyTooLarge."""
    return body(request, limit if _is_json(request, ()) else MAX_YAML_BYTES)


def _is_json(request: Request, types: Collection[str]) -> bool:
    """Whether the body is JSON rather than YAML. Raises UnsupportedMediaType if it is neither."""
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("the body must have no content coding")
    if media in (JSON, "text/json", *types):
        return True
    if media not in ("", *YAML_TYPES):
        raise UnsupportedMediaType(f"the body must be {' or '.join((JSON, YAML, *types))}")
    return False


def body(request: Request, limit: int) -> bytes:
    """The request's content. Raises BodyTooLarge."""
    content: bytes = request._request.read(limit + 1)
    if len(content) > limit:
        hint = "" if limit > MAX_YAML_BYTES else "; JSON may be larger"
        raise BodyTooLarge(f"the body is larger than {limit // 1000} kB{hint}")
    return content


def invalid(error: ConfigurationError, *, with_lines: bool, within: Path = ()) -> InvalidDocument:
    """The faults with pointers, which begin at `within` for faults there."""
    errors = []
    for fault in error.faults[:MAX_ERRORS]:
        path = fault.path if fault.key is None else (*fault.path, fault.key)
        if path[: len(within)] == within:
            path = path[len(within) :]
        errors.append(DocumentFault(pointer(path), fault.message, fault.line if with_lines else None))
    return InvalidDocument(errors)
