"""The parsers of the `cache` section. No Django, no I/O."""

import re
from enum import StrEnum
from typing import Final

from resilience.cache.ignoring import Ignorable
from resilience.cache.policy import CACHEABLE_METHODS, KeyPolicy, OwnInvalidation, QueryPolicy, Scope
from routing.configuration.conditions import conditions
from routing.configuration.faults import Faults
from routing.configuration.values import (
    ValueParser,
    boolean,
    cookie_name,
    display,
    duration,
    field_name,
    list_of,
    mapping_of,
    nullable,
    one_of,
    parse_mapping,
    string,
    tag,
)
from routing.messages.conditions import Conditions
from routing.messages.forwarding import is_set_by_gateway

MAX_NAMES: Final = 32
"""Fields of a body, parameters or header fields that a key may list."""
MAX_STEPS: Final = 8
"""The most names in the path to a field."""
_NAME: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7a\x7c\x7e]{1,128}")
"""Visible ASCII without quotes, backslashes and braces."""


def _ignorable(value: object) -> StrEnum:
    """Names of header fields may be written in any case."""
    word: StrEnum = one_of(Ignorable)(value.lower() if isinstance(value, str) else value)
    return word


def _method(value: object) -> str:
    if value not in CACHEABLE_METHODS:
        raise ValueError(
            f"must be {', '.join(CACHEABLE_METHODS[:-1])} or {CACHEABLE_METHODS[-1]}, not {display(value)}"
        )
    return str(value)


def _names(parser: ValueParser) -> ValueParser:
    """A list of a few different names."""

    def parse(value: object) -> tuple[str, ...]:
        names: tuple[str, ...] = list_of(parser)(value)
        if len(names) > MAX_NAMES:
            raise ValueError(f"must have at most {MAX_NAMES} names")
        if len(set(names)) != len(names):
            raise ValueError("must have each name once")
        return names

    return parse


def _parameter(value: object) -> str:
    if _NAME.fullmatch(string(value)) is None:
        raise ValueError(f"{display(value)} is not a name: visible ASCII without quotes or braces")
    return str(value)


def _body_field(value: object) -> str:
    """A field of a form or a JSON object; `a.b` is the field `b` of the object `a`."""
    steps = _parameter(value).split(".")
    if not all(steps) or len(steps) > MAX_STEPS:
        raise ValueError(f"{display(value)} is not a field such as channel or filter.channel")
    return str(value)


def _body(value: object) -> tuple[str, ...]:
    names: tuple[str, ...] = _names(_body_field)(value)
    if not names:
        raise ValueError(
            "must name a field: without any, all bodies would have the same response; leave it out for all"
        )
    return names


def _header(value: object) -> str:
    name = field_name(value)
    if is_set_by_gateway(name.encode()):
        raise ValueError(f"{name} is set by the gateway, whatever the client sends")
    return name


def _query(value: object) -> QueryPolicy:
    return QueryPolicy(**mapping_of({"ignore": _names(_parameter), "sort": boolean})(value))


def _key(value: object) -> KeyPolicy:
    return KeyPolicy(**mapping_of({"body": nullable(_body), "query": _query, "headers": _names(_header)})(value))


def _only_if(value: object) -> Conditions:
    found = conditions(value)
    if not found.items:
        raise ValueError("must have a condition: without any, nothing would be stored; leave it out to store all")
    return found


def _when(value: object) -> Conditions:
    found = conditions(value)
    if not found.items:
        raise ValueError("must have a condition; leave invalidate_own out to invalidate nothing")
    return found


def _invalidate_own(value: object) -> OwnInvalidation:
    faults, keys = Faults(), {"when": _when, "tags": list_of(tag)}
    found = parse_mapping(value, keys, faults)
    faults.raise_if_any()
    if not found.get("when") or not found.get("tags"):
        raise ValueError("needs 'when', a condition on responses, and 'tags', of what they end")
    return OwnInvalidation(**found)


CACHE: Final[dict[str, ValueParser]] = {
    "ttl": duration,
    "scope": one_of(Scope),
    "stale_while_revalidate": duration,
    "stale_if_error": duration,
    "tags": list_of(tag),
    "vary": list_of(field_name),
    "override": boolean,
    "credentials": nullable(list_of(field_name)),
    "ignore": list_of(_ignorable),
    "ignore_vary": _names(field_name),
    "share_ignored": boolean,
    "methods": list_of(_method),
    "key": _key,
    "only_if": nullable(_only_if),
    "cookies": nullable(_names(cookie_name)),
    "invalidate_own": nullable(_invalidate_own),
    "bypass_query": _names(_parameter),
}
