"""Header fields that the gateway sends to a backend, and the secrets that they refer to. No Django, no I/O."""

import re
from typing import Any, Final, NamedTuple

from routing.configuration.faults import Faults, UnresolvedSecret
from routing.configuration.values import SecretLookup, ValueParser, field_name, mapping
from routing.http import HOP_BY_HOP, Header

OWN_HEADERS: Final = frozenset({b"host", b"content-length", b"x-request-id", b"x-gateway-caller", b"forwarded", b"via"})
"""Fields that the gateway or its HTTP client sets on every call to a backend: they cannot be configured."""
FILE: Final = "file:"
MASK: Final = "masked:"
"""Begins what is shown in place of a stored secret."""

_FIELD_VALUE: Final = re.compile(r"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
"""RFC 9110 section 5.5: no control characters, no leading or trailing white space."""
_REFERENCE: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9-]{0,31} )?"
    r"(?:env:(?P<variable>[A-Za-z_][A-Za-z0-9_]*)|file:(?://)?(?P<path>/[^\x00-\x1f\x7f]{1,4095}))"
)
_SCHEMES: Final = {
    "env:": "env: must be followed by the name of an environment variable",
    FILE: "file: must be followed by the absolute path of a file",
    MASK: "this stands for a stored value that is not shown; write env:NAME, file:/PATH or the value itself",
}
_COLON: Final = re.compile(r"[A-Za-z0-9-]+:\S")


class Reference(NamedTuple):
    """A value that is kept outside of the configuration.

    `name` is what a SecretLookup takes: a variable's name, or `file:/path`. `scheme` is sent before the value:
    `Bearer ` of `Bearer file:/run/secrets/token`.
    """

    name: str
    scheme: str = ""

    @property
    def source(self) -> str:
        """The kind of reference, for error messages."""
        is_file = self.name.startswith(FILE)
        return f"the file {self.name.removeprefix(FILE)}" if is_file else f"the environment variable {self.name}"


def reference(value: object) -> Reference | None:
    """The reference that a field's value is, or None if it is anything else."""
    form = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if form is None:
        return None
    return Reference(form["variable"] or f"{FILE}{form['path']}", form["scheme"] or "")


def value_fault(content: str) -> str | None:
    """What makes `content` invalid as a field's value, without quoting it; None if it is valid."""
    if _FIELD_VALUE.fullmatch(content) is None:
        return "contains control characters, or leading or trailing white space"
    return None


def headers(secret: SecretLookup) -> ValueParser:
    """Header fields for the backend, by lower-case name. References are looked up in `secret`.

    Error messages never contain a field's value.
    """

    def parse(value: object) -> dict[str, Header]:
        if not isinstance(value, dict):
            raise ValueError("must be a mapping of names to values")
        faults, fields = Faults(), {}
        for name, item in mapping(value).items():
            if item is None and _COLON.match(name):
                # The whole field became the key, and its value may be a secret.
                faults.add((), "a header is written NAME: VALUE, with a space after the colon")
                continue
            with faults.at(name):
                key = field_name(name)
                if key in fields:
                    raise ValueError("duplicate header")
                fields[key] = (_settable(key), _field_value(item, secret))
        faults.raise_if_any()
        return fields

    return parse


def _settable(name: str) -> bytes:
    key = name.encode()
    if key in HOP_BY_HOP or key in OWN_HEADERS or key.startswith(b"x-forwarded-"):
        raise ValueError("this header is set by the gateway")
    return key


def _field_value(value: Any, secret: SecretLookup) -> bytes:
    content, subject = resolved(value, secret)
    fault = value_fault(content)
    if fault is not None:
        raise ValueError(f"{subject} {fault}")
    return content.encode("utf-8", "surrogateescape")


def resolved(value: Any, secret: SecretLookup) -> tuple[str, str]:
    """The content of a value that may be a reference, and what it is, for error messages. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("must be a string (put it in quotes)")
    found = reference(value)
    if found is not None:
        return resolve(found, secret), f"the value of {found.source}"
    for scheme, message in _SCHEMES.items():
        if value.startswith(scheme):
            raise ValueError(message)
    return value, "the value"


def resolve(found: Reference, secret: SecretLookup) -> str:
    """The value that a reference stands for. Raises ValueError for one that may not be used, UnresolvedSecret for one
    that is missing here.
    """
    if found.name.startswith(FILE) and {".", ".."}.intersection(found.name.split("/")):
        raise ValueError("file: must be followed by a path without '.' and '..'")
    content = secret(found.name)
    if content is None:
        raise UnresolvedSecret(f"{found.source} is not set")
    return content and found.scheme + content
