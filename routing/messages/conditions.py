"""Conditions on a message: its status, header fields and JSON fields. A closed language: nothing in it loops.

A body is judged by its JSON fields only if all of it is known, it is at most `MAX_BODY` bytes, before and after
decoding, and it is JSON by its Content-Type (`application/json`, `application/*+json`, `text/json`) in UTF-8. Of
content codings, gzip and deflate are decoded. Any other body has no fields. Of duplicate keys the last one counts, as
in most clients' parsers.
"""

from typing import Final

import msgspec

from routing.http import Headers, first
from routing.messages.content_coding import DECODED_CODINGS, content_coding, decoded
from routing.messages.json_decoding import decode_json
from routing.messages.media_type import is_json

MAX_BODY: Final = 256 * 1024
_ACCEPTED: Final = (*DECODED_CODINGS, b"x-gzip", b"identity")
_ACCEPT_ENCODING: Final = b"accept-encoding"

Scalar = str | int | float | bool | None
FieldPath = tuple[str, ...]

NO_DOCUMENT: Final = object()
"""The document of a body that cannot be judged."""


class FieldCondition(msgspec.Struct, frozen=True):
    """The JSON field at `path` has one of `values`. A step of the path is a key, or an index where it meets an array.

    `values` are as `scalar_key` returns them.
    """

    path: FieldPath
    values: frozenset[tuple[str, Scalar]]

    def holds(self, document: object) -> bool:
        for step in self.path:
            if isinstance(document, dict):
                document = document.get(step, NO_DOCUMENT)
            elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
                document = document[int(step)]
            else:
                return False
        key = scalar_key(document)
        return key is not None and key in self.values


class HeaderCondition(msgspec.Struct, frozen=True):
    """A line of the field `name` has one of `values`; without values, there is such a line, or none if not `present`.

    `name` is in lower case.
    """

    name: bytes
    values: frozenset[bytes] = frozenset()
    present: bool = True

    def holds(self, headers: Headers) -> bool:
        if self.values:
            return any(name == self.name and value in self.values for name, value in headers)
        return (first(headers, self.name) is not None) is self.present


class Condition(msgspec.Struct, frozen=True):
    """All of its parts must hold. An empty part always does."""

    statuses: frozenset[int] = frozenset()
    headers: tuple[HeaderCondition, ...] = ()
    fields: tuple[FieldCondition, ...] = ()

    def may_hold(self, status: int, headers: Headers) -> bool:
        """Whether status and header fields are as required."""
        if self.statuses and status not in self.statuses:
            return False
        return all(condition.holds(headers) for condition in self.headers)

    def holds(self, status: int, headers: Headers, document: object) -> bool:
        """`document` is what `json_document` returns."""
        if not self.may_hold(status, headers):
            return False
        return not self.fields or (
            document is not NO_DOCUMENT and all(condition.holds(document) for condition in self.fields)
        )


class Conditions(msgspec.Struct, frozen=True):
    """Any of these conditions. None holds if there are none."""

    items: tuple[Condition, ...] = ()

    @property
    def needs_body(self) -> bool:
        """Whether any of them is on the body."""
        return any(condition.fields for condition in self.items)

    def needs_body_of(self, status: int, headers: Headers) -> bool:
        """Whether the body decides about a message with this status and these header fields."""
        return any(condition.fields and condition.may_hold(status, headers) for condition in self.items)

    def matches(self, status: int, headers: Headers, body: bytes | None) -> bool:
        """Whether one of them holds. `body` is the whole body as sent, None if it is not known. Raises nothing."""
        document = json_document(headers, body) if self.needs_body_of(status, headers) else NO_DOCUMENT
        return self.hold(status, headers, document)

    def hold(self, status: int, headers: Headers, document: object) -> bool:
        """The same for a body that is parsed already. `document` is what `json_document` returns."""
        return any(condition.holds(status, headers, document) for condition in self.items)


def scalar_key(value: object) -> tuple[str, Scalar] | None:
    """A scalar for comparison: JSON's `true` is not 1, but 1 is 1.0. None for an array or an object."""
    if value is None:
        return "null", None
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float):
        return "number", value
    return ("string", value) if isinstance(value, str) else None


def may_be_judged(headers: Headers) -> bool:
    """Whether a body with these header fields can be judged, unless it is too large or malformed."""
    if not is_json(first(headers, b"content-type")):
        return False
    coding = content_coding(headers)
    return coding in (b"", *DECODED_CODINGS)


def json_document(headers: Headers, body: bytes | None) -> object:
    """The parsed body, or NO_DOCUMENT if it cannot be judged. Raises nothing."""
    if body is None or len(body) > MAX_BODY or not may_be_judged(headers):
        return NO_DOCUMENT
    coding = content_coding(headers)
    content = decoded(body, coding, MAX_BODY) if coding else body
    if content is None:
        return NO_DOCUMENT
    try:
        return decode_json(content)
    except (ValueError, RecursionError):  # of msgspec and of UTF-8; too deeply nested
        return NO_DOCUMENT


def decodable_only(headers: Headers) -> Headers:
    """A request's header fields, of which Accept-Encoding lists no coding that bodies are not judged in."""
    accepted = [value for name, value in headers if name == _ACCEPT_ENCODING]
    if not accepted:
        return headers
    items = [item.strip() for item in b",".join(accepted).split(b",")]
    kept = [item for item in items if item.partition(b";")[0].strip().lower() in _ACCEPTED]
    value = b", ".join(kept) or b"identity"
    return [*(pair for pair in headers if pair[0] != _ACCEPT_ENCODING), (_ACCEPT_ENCODING, value)]
