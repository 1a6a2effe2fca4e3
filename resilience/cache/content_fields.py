"""The fields of a request's content: JSON, or a form. Pure functions.

A cache that keys responses by some fields must read a body as the backend does. Where two backends could read it
differently, AmbiguousContent is raised, and all of the body becomes part of the key.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from resilience.cache.parameter_names import loose_name

JSON: Final = b"application/json"
FORM: Final = b"application/x-www-form-urlencoded"
CONTENT_TYPES: Final = frozenset({JSON, FORM})

MAX_DEPTH: Final = 32
"""The deepest nesting of a field's value."""
MAX_ITEMS: Final = 1_000
"""Parameters of a form, or names and items in JSON, up to which fields are read: this bounds the time it takes."""

_CHARSET: Final = re.compile(rb"(?:;[ \t]*charset=(?:utf-8|\"utf-8\")[ \t]*)*;?", re.IGNORECASE)
_FORM: Final = re.compile(rb"(?:[A-Za-z0-9*._~!$'(),:@/?+=&-]++|%[0-9A-Fa-f]{2})*+")
"""A form as clients write it: neither JSON that is declared as a form, nor parameters separated by `;`."""
_DECISIVE: Final = frozenset(
    {"_method", "token", "access_token", "auth_token", "id_token", "refresh_token", "auth", "authorization"}
    | {"api_key", "apikey", "secret", "client_secret", "password", "sessionid", "session_id", "user_token"}
)
"""Fields that decide for whom or by which method a backend answers, whatever else is configured."""


class AmbiguousContent(ValueError):
    """Not the content that its type says, or content that backends read differently."""


class JsonNumber(str):
    """A JSON number as it is written: backends differ in its precision."""

    __slots__ = ()


class _Missing:
    """The value of a field that is not there."""


MISSING: Final = _Missing()

Value = None | bool | JsonNumber | str | bytes | list[Any] | dict[str, Any] | _Missing


def media_type(content_type: bytes) -> bytes:
    """The type and subtype, in lower case."""
    return content_type.partition(b";")[0].strip(b" \t").lower()


def content_fields(content_type: bytes, body: bytes, names: Sequence[str]) -> list[Value]:
    """The values of the named fields, in order; of JSON, `a.b` is the field `b` of the object `a`.

    Raises AmbiguousContent.
    """
    kind = media_type(content_type)
    _check_charset(content_type)
    return _json_fields(body, names) if kind == JSON else _form_fields(body, names)


def encoded_value(value: Value) -> bytes:
    """A value as bytes: different ones for different values. Raises AmbiguousContent for one that is nested too deep.

    The order of an object's fields counts: to some backends it means something.
    """
    return b"".join(_encode(value, 0))


def canonical_json(content_type: bytes, body: bytes) -> bytes:
    """All of a JSON body as bytes, the same for bodies that differ only in white space, escapes or the order of names.

    Numbers count as they are written. Raises AmbiguousContent, also for content that is not declared as JSON.
    """
    if media_type(content_type) != JSON:
        raise AmbiguousContent("not declared as JSON")
    _check_charset(content_type)
    return b"".join(_encode(_sorted(_document(body), 0), 0))


def text_of(value: Value) -> str:
    """A string or number as text; empty for any other value."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len({loose_name(name) for name in found}) != len(pairs):
        raise AmbiguousContent("a name occurs twice")
    return found


def _constant(name: str) -> None:
    raise AmbiguousContent(f"{name} is not JSON")


_decode_json: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=JsonNumber, parse_float=JsonNumber, parse_constant=_constant
).decode


def _check_charset(content_type: bytes) -> None:
    if _CHARSET.fullmatch(content_type[content_type.find(b";") :] if b";" in content_type else b"") is None:
        raise AmbiguousContent("the charset is not UTF-8")


def _document(body: bytes) -> Any:
    """A JSON text. Raises AmbiguousContent."""
    if sum(map(body.count, (b",", b"{", b"["))) >= MAX_ITEMS:
        raise AmbiguousContent("too many items")
    try:
        return _decode_json(body.decode())
    except AmbiguousContent:
        raise
    except (ValueError, RecursionError) as error:
        raise AmbiguousContent("not JSON") from error


def _sorted(value: Any, depth: int) -> Any:
    """The same with the names of all objects in order. Raises AmbiguousContent."""
    if depth > MAX_DEPTH:
        raise AmbiguousContent("nested too deep")
    if isinstance(value, list):
        return [_sorted(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {name: _sorted(value[name], depth + 1) for name in sorted(value)}
    return value


def _json_fields(body: bytes, names: Sequence[str]) -> list[Value]:
    document = _document(body)
    if not isinstance(document, dict):
        raise AmbiguousContent("not an object")
    _check_names(document, names)
    return [_field(document, name.split(".")) for name in names]


def _field(holder: Mapping[str, Any], path: Sequence[str]) -> Value:
    name, *rest = path
    similar = {loose_name(key): key for key in holder}
    if rest and loose_name(".".join(path)) in similar:
        raise AmbiguousContent("a name with a dot")
    if name not in holder:
        if loose_name(name) in similar:
            raise AmbiguousContent("a name like that of a field")
        return MISSING
    value: Value = holder[name]
    if not rest:
        return value
    if not isinstance(value, dict):
        raise AmbiguousContent("not an object")
    return _field(value, rest)


def _form_fields(body: bytes, names: Sequence[str]) -> list[Value]:
    if _FORM.fullmatch(body) is None or body.count(b"&") >= MAX_ITEMS:
        raise AmbiguousContent("not a form as clients write it")
    pairs: list[tuple[str, Any]] = []
    for parameter in filter(None, body.split(b"&")):
        key, equals, value = parameter.partition(b"=")
        if not equals:
            raise AmbiguousContent("a name without a value")
        pairs.append((_unquoted(key).decode("utf-8", "backslashreplace"), _unquoted(value)))
    form = _object(pairs)
    _check_names(form, names)
    similar = {loose_name(key): key for key in form}
    for name in names:
        if similar.get(loose_name(name), name) != name:
            raise AmbiguousContent("a name like that of a field")
    return [form.get(name, MISSING) for name in names]


def _check_names(found: Mapping[str, Any], names: Sequence[str]) -> None:
    """Fields that decide are either among the named ones, or count as all others do."""
    if not _DECISIVE.isdisjoint({loose_name(name) for name in found} - {loose_name(name) for name in names}):
        raise AmbiguousContent("a credential or a method")


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _encode(value: Value, depth: int) -> list[bytes]:
    if depth > MAX_DEPTH:
        raise AmbiguousContent("nested too deep")
    if isinstance(value, JsonNumber):
        return [b"#%d:%b" % (len(value), value.encode())]
    if isinstance(value, str | bytes):
        text = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        return [b'"%d:%b' % (len(text), text)]
    if isinstance(value, list):
        return [b"[%d:" % len(value), *[part for item in value for part in _encode(item, depth + 1)]]
    if isinstance(value, dict):
        items = [part for pair in value.items() for item in pair for part in _encode(item, depth + 1)]
        return [b"{%d:" % len(value), *items]
    return [{None: b"n", True: b"t", False: b"f", MISSING: b"-"}[value]]
