"""The default values of settings, as the configuration file writes them."""

from collections.abc import Mapping
from enum import StrEnum
from math import inf
from typing import Any, Final

import msgspec

from resilience.outbound.policy import OutboundPolicy
from resilience.ratelimit.policy import RatePolicy
from routing.configuration.faults import ConfigurationError
from routing.configuration.sections import build_policy
from routing.router.identity_policy import IdentityPolicy

_INCOMPLETE: Final = {"identity": IdentityPolicy, "outbound": OutboundPolicy}
"""Sections that are nothing without a key that has no default; the other keys have one."""
UNSET: Final = "unset"
_DURATION: Final = "a duration"
Defaults = Mapping[str, Any]


def of_policy() -> dict[str, Any]:
    """The defaults of the settings of services and routes, and of the keys of sections, also of those that are off."""
    policy = msgspec.structs.asdict(build_policy({}))
    return {name: _section(name) if value is None else value for name, value in policy.items()}


def of_record(record: Any) -> dict[str, Any]:
    """The defaults of a Struct, or of its class, by the names of its fields. A mapping is returned as it is."""
    if isinstance(record, dict):
        return record
    if not isinstance(record, type):
        return msgspec.structs.asdict(record) if isinstance(record, msgspec.Struct) else {}
    fields = msgspec.structs.fields(record)
    return {field.name: field.default for field in fields if field.default is not msgspec.NODEFAULT}


def display(value: object, words: str) -> str:
    """A default of a key that accepts `words`; empty for what is not written as one value."""
    if value is None or value == "" or (isinstance(value, float) and value == inf):
        return "null" if "`null`" in words else UNSET
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | int):
        return f"{value:g}s" if words.startswith(_DURATION) else f"{value:g}"
    if isinstance(value, tuple | list | frozenset):
        items = ", ".join(display(item, "") for item in value)
        return f"{{{items}}}" if words.startswith("a mapping") else f"[{items}]"
    if isinstance(value, StrEnum):
        return value.value
    return str(value) if isinstance(value, str | RatePolicy) else ""


def _section(name: str) -> Any:
    """The section with none of its keys set, if it may be that."""
    try:
        section = getattr(build_policy({name: {}}), name)
    except (ConfigurationError, TypeError, AttributeError):  # it needs a key, or is not a section
        return _INCOMPLETE.get(name)
    return section if isinstance(section, msgspec.Struct) else None
