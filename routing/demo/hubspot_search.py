"""The filters of HubSpot's search (developers.hubspot.com/docs/api/crm/search)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from routing.demo.contacts import Contact

_OPERATORS: Final[Mapping[str, Callable[[str, Any], bool]]] = {
    "EQ": lambda value, filter_: value == str(filter_.get("value")),
    "NEQ": lambda value, filter_: value != str(filter_.get("value")),
    "IN": lambda value, filter_: value in (filter_.get("values") or ()),
    "CONTAINS_TOKEN": lambda value, filter_: str(filter_.get("value")).strip("*").lower() in value.lower(),
    "HAS_PROPERTY": lambda value, _: bool(value),
    "NOT_HAS_PROPERTY": lambda value, _: not value,
}


def matches(contact: Contact, given: Mapping[str, Any]) -> bool:
    """Whether a contact contains the query, and passes every filter of at least one of the groups, if there are any."""
    query = str(given.get("query") or "").lower()
    if query and query not in " ".join(contact.properties.values()).lower():
        return False
    groups = given.get("filterGroups") or ()
    return not groups or any(all(_passes(contact, one) for one in group.get("filters") or ()) for group in groups)


def _passes(contact: Contact, filter_: Mapping[str, Any]) -> bool:
    operator = _OPERATORS.get(str(filter_.get("operator")))
    return operator is not None and operator(contact.properties.get(str(filter_.get("propertyName")), ""), filter_)
