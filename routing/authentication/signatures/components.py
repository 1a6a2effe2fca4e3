"""The signature base: what a signature covers of a request, as one text (RFC 9421 sections 2 and 2.5). Pure."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote

from routing.authentication.signatures.policy import DERIVED
from routing.http import Headers
from routing.structured_fields import (
    InnerList,
    Item,
    Member,
    Parameters,
    parse_dictionary,
    parse_item,
    parse_list,
    serialize_bare,
    serialize_dictionary,
    serialize_item,
    serialize_list,
    serialize_member,
)

_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,256}")
_FIELD_PARAMETERS: Final = frozenset({"sf", "key", "bs"})
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_MAX_PARAMETERS: Final = 1_000
"""The most parameters of a query that are searched for one."""
MAX_STRUCTURED_BYTES: Final = 8_192
"""The most bytes of fields that are parsed for one signature: each takes a microsecond."""
QUERY_PARAM: Final = "@query-param"


class ComponentError(ValueError):
    """A component that the request does not have, or that cannot be determined. The text is for the client."""


class SignedRequest(NamedTuple):
    """A request as its client sent it. `path` and `query` are the bytes of the request line; `query` is None without
    one. `authority` is the host that the client used, with its port if it named one.
    """

    method: str
    scheme: str
    authority: str
    path: bytes
    query: bytes | None
    headers: Headers


def signature_base(request: SignedRequest, covered: InnerList) -> bytes:
    """Raises ComponentError."""
    lines, seen, components = list[bytes](), set[str](), _Components(request)
    for component in covered.items:
        identifier = serialize_item(component)
        if identifier in seen:
            raise ComponentError(f"the signature covers {identifier} twice")
        seen.add(identifier)
        lines.append(identifier.encode() + b": " + components.value(component))
    lines.append(b'"@signature-params": ' + serialize_member(covered).encode())
    return b"\n".join(lines)


class _Components:
    """The values of a request's components. What is read for one of them is not read again for another: whoever knows
    a key's id can have the same field searched for as many members as a signature may cover.
    """

    def __init__(self, request: SignedRequest) -> None:
        self._request = request
        self._dictionaries: dict[str, Mapping[str, Member]] = {}
        self._structured_bytes = 0

    def value(self, component: Item) -> bytes:
        """Raises ComponentError."""
        name, parameters = component.value, component.parameters
        if type(name) is not str:
            raise ComponentError("a component of the signature is not a string")
        if "req" in parameters or "tr" in parameters:
            raise ComponentError(f"the parameters of {name} are not for the header of a request")
        if name.startswith("@"):
            return self._derived(name, component)
        if _FIELD_NAME.fullmatch(name) is None:
            raise ComponentError("a component of the signature is not the name of a field in lower case")
        if not parameters.keys() <= _FIELD_PARAMETERS or ("bs" in parameters and len(parameters) > 1):
            raise ComponentError(f"the parameters of {name} are not supported")
        if parameters.get("sf", True) is not True or parameters.get("bs", True) is not True:
            raise ComponentError(f"a parameter of {name} has a value")
        return self._field(name, parameters)

    def _derived(self, name: str, component: Item) -> bytes:
        if name == QUERY_PARAM:
            return self._query_param(component)
        if name not in DERIVED:
            raise ComponentError(f"{name} is not a component of a request")
        if component.parameters:
            raise ComponentError(f"{name} has no parameters")
        return derived_value(self._request, name)

    def _query_param(self, component: Item) -> bytes:
        """The only value of a parameter of the query, decoded as a form and encoded again (section 2.2.8)."""
        name = component.parameters.get("name")
        if component.parameters.keys() != {"name"} or type(name) is not str:
            raise ComponentError(f"{QUERY_PARAM} needs the parameter name, and no other")
        values = [value for key, value in self._query_pairs if key == name]
        if len(values) != 1:
            problem = "has no parameter" if not values else "repeats the parameter"
            raise ComponentError(f"the query {problem} {serialize_bare(name)[:80]}")
        return values[0].encode()

    @cached_property
    def _query_pairs(self) -> list[tuple[str, str]]:
        text = (self._request.query or b"").decode(errors="surrogateescape")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS, errors="surrogateescape")
        except ValueError:
            raise ComponentError("the query has too many parameters") from None
        return [(_encoded(key), _encoded(value)) for key, value in pairs]

    def _field(self, name: str, parameters: Parameters) -> bytes:
        raw = name.encode()
        values = [value.strip(b" \t") for key, value in self._request.headers if key == raw]
        if not values:
            raise ComponentError(f"the request has no field {name}, which the signature covers")
        if "bs" in parameters:
            return b", ".join(serialize_bare(value).encode() for value in values)
        joined = b", ".join(values)
        if "key" in parameters:
            return self._dictionary_member(name, joined, parameters["key"])
        return _structured(name, self._structured_text(name, joined)) if "sf" in parameters else joined

    def _dictionary_member(self, name: str, value: bytes, key: object) -> bytes:
        """RFC 9421 section 2.1.2."""
        if type(key) is not str:
            raise ComponentError(f"the parameter key of {name} is not a string")
        if name not in self._dictionaries:
            text = self._structured_text(name, value)
            try:
                self._dictionaries[name] = parse_dictionary(text)
            except ValueError:
                raise ComponentError(f"{name} is not a dictionary") from None
        members = self._dictionaries[name]
        if key not in members:
            raise ComponentError(f"{name} has no member {key[:80]}")
        return serialize_member(members[key]).encode()

    def _structured_text(self, name: str, value: bytes) -> str:
        """A field that is about to be parsed."""
        self._structured_bytes += len(value)
        if self._structured_bytes > MAX_STRUCTURED_BYTES:
            raise ComponentError(f"{name} is too long to be read as a structured field")
        if not value.isascii():
            raise ComponentError(f"{name} is not a structured field")
        return value.decode("ascii")


def derived_value(request: SignedRequest, name: str) -> bytes:
    """One of DERIVED except `@query-param` (RFC 9421 section 2.2)."""
    query = b"" if request.query is None else b"?" + request.query
    scheme, authority, path = request.scheme.encode(), _authority(request), request.path or b"/"
    values = {
        "@method": request.method.encode(),
        "@authority": authority,
        "@scheme": scheme,
        "@path": path,
        "@query": query or b"?",
        "@request-target": request.path + query,
        "@target-uri": b"".join((scheme, b"://", authority, path, query)),
    }
    return values[name]


def _authority(request: SignedRequest) -> bytes:
    """The authority in lower case, without the default port (RFC 9421 section 2.2.3)."""
    authority = request.authority.lower().removesuffix(_DEFAULT_PORTS.get(request.scheme, ":"))
    return authority.encode("latin-1", "replace")


def _encoded(text: str) -> str:
    """Percent-encoded as the WHATWG URL standard's application/x-www-form-urlencoded set, and spaces as %20."""
    return quote(text, safe="*-._", errors="surrogateescape").replace("~", "%7E")


def _structured(name: str, text: str) -> bytes:
    """The field in canonical form (RFC 9421 section 2.1.1).

    The kind of a field is known to its two ends only. It is serialized as each kind that it can be; where the results
    differ, it cannot be determined what was signed.
    """
    found: set[str] = set()
    for canonical in (_item, _list, _dictionary):
        try:
            found.add(canonical(text))
        except ValueError:
            continue
    if len(found) != 1:
        raise ComponentError(f"{name} is not a structured field, or not of one kind only")
    return found.pop().encode()


def _item(text: str) -> str:
    return serialize_item(parse_item(text))


def _list(text: str) -> str:
    return serialize_list(parse_list(text))


def _dictionary(text: str) -> str:
    return serialize_dictionary(parse_dictionary(text))
