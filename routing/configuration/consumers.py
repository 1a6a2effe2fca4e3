"""The sections `plans`, `teams` and `consumers` of a configuration document. No Django, no I/O."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from resilience.usage.policy import MAX_AMOUNT, Anchor, Per, QuotaPolicy
from routing.configuration.faults import ConfigurationError, Fault, Faults, Path
from routing.configuration.identities import canonical_identities, check_identities, parse_identity
from routing.configuration.key_order import in_order
from routing.configuration.networks import build_addresses, ip
from routing.configuration.section_parsers import PRICE
from routing.configuration.sections import build
from routing.configuration.values import (
    ValueParser,
    boolean,
    display,
    integer,
    list_of,
    mapping,
    mapping_of,
    matching,
    method,
    one_of,
    parse_mapping,
    rate,
    string,
)
from routing.consumers.policy import CONSUMER_NAME, Limits, Plan, ServiceAccess
from routing.consumers.price import Price, build_price
from routing.router.policy import NAME

CONSUMER_SECTIONS: Final = ("plans", "teams", "consumers")
"""The sections, in the order in which they refer to each other."""


def timestamp(value: object) -> datetime:
    """A date, which is its midnight in UTC, or a time with its offset from UTC: ISO 8601."""
    try:
        found = datetime.fromisoformat(string(value))
    except ValueError:
        raise ValueError(f"must be a time such as 2026-01-31T09:30:00Z, not {display(value)}") from None
    if found.tzinfo is None and "T" not in str(value) and " " not in str(value):
        found = found.replace(tzinfo=UTC)
    if found.tzinfo is None:
        raise ValueError("must have an offset from UTC, such as 2026-01-31T09:30:00Z")
    if not 1970 <= found.year <= 9000:
        raise ValueError("must be a time after 1970")
    return found.astimezone(UTC).replace(microsecond=0)


def format_timestamp(value: datetime) -> str:
    return value.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


_QUOTA: Final[dict[str, ValueParser]] = {
    "amount": integer(1, MAX_AMOUNT),
    "per": one_of(Per),
    "anchor": one_of(Anchor),
    "timezone": string,
}
_name: Final = matching(CONSUMER_NAME, "a name: letters, digits and . _ @ + -, at most 100, the first of these two")
_plan_name: Final = matching(NAME, "the name of a plan: a letter, then letters, digits, '-' or '_', at most 63")


def _quota(value: object) -> QuotaPolicy:
    settings = mapping_of(_QUOTA)(value)
    for key in ("amount", "per"):
        if key not in settings:
            raise ValueError(f"a quota needs {key!r}")
    quota: QuotaPolicy = build(QuotaPolicy, settings)
    return quota


def _price(value: object) -> Price:
    price: Price = build(build_price, mapping_of(PRICE)(value))
    return price


def _access(value: object) -> ServiceAccess:
    """`crm`, or `{crm: {methods: [GET]}}`."""
    if isinstance(value, str):
        value = {value: {}}
    items = mapping(value)
    if len(items) != 1:
        raise ValueError("must be the name of a service, or {NAME: {methods: [GET]}}")
    faults = Faults()
    access = ServiceAccess("")
    for name, settings in items.items():
        with faults.at(name):
            if NAME.fullmatch(name) is None:
                raise ValueError(f"{display(name)} is not the name of a service")
            access = ServiceAccess(name, **mapping_of({"methods": list_of(method)})(settings or {}))
    faults.raise_if_any()
    return access


def _services(value: object) -> tuple[ServiceAccess, ...]:
    services: tuple[ServiceAccess, ...] = list_of(_access)(value)
    names = [access.name for access in services]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is listed twice")
    return services


_LIMITS: Final[dict[str, ValueParser]] = {
    "rate": rate,
    "burst": integer(1, 999_999_999),
    "quota": list_of(_quota),
    "concurrency": integer(1, 1_000_000),
}
_PLAN: Final[dict[str, ValueParser]] = {
    **_LIMITS,
    "services": _services,
    "ip": ip,
    "price": _price,
    "offered": boolean,
}
_TEAM: Final[dict[str, ValueParser]] = {"plan": _plan_name, "signed_up": timestamp, **_LIMITS}
_CONSUMER: Final[dict[str, ValueParser]] = {
    "enabled": boolean,
    "team": _name,
    "plan": _plan_name,
    "signed_up": timestamp,
    **_LIMITS,
    "identities": list_of(parse_identity),
}
PARSERS: Final = {"plans": _PLAN, "teams": _TEAM, "consumers": _CONSUMER}
_NAMES: Final[dict[str, ValueParser]] = {"plans": _plan_name, "teams": _name, "consumers": _name}


def decode_limits(value: object) -> Limits:
    """The limits of a key. Raises ConfigurationError or ValueError."""
    return _limits(mapping_of(_LIMITS)(value))


def decode_plan(name: str, value: object) -> Plan:
    """One plan. Raises ConfigurationError, with paths relative to the plan."""
    settings = _decode("plans", name, value)
    return Plan(
        name=name,
        limits=_limits(settings),
        services=settings.get("services"),
        ip=build_addresses(**settings.get("ip", {})),
        price=settings.get("price"),
    )


def check_item(section: str, name: str, value: object) -> None:
    """Raise ConfigurationError if a plan, a team or a consumer has faults. Paths are relative to it."""
    if section == "plans":
        decode_plan(name, value)
    else:
        _limits(_decode(section, name, value))


def check_consumers(top: Mapping[str, Any], faults: Faults, services: Collection[str] | None) -> None:
    """Add the faults of the three sections. `services` are all that exist, None if that is not known.

    The names of plans and teams are checked where all are known too.
    """
    found: dict[str, dict[str, Any]] = {}
    for section in CONSUMER_SECTIONS:
        with faults.at(section):
            found[section] = mapping(top.get(section) or {})
        for name, item in found.get(section, {}).items():
            with faults.at(section, name):
                check_item(section, name, item)
    check_identities(found.get("consumers", {}), faults)
    if services is not None:
        faults.found += [*unknown_names(found, found), *unknown_services(found.get("plans", {}), services)]


def unknown_names(sections: Mapping[str, Mapping[str, Any]], known: Mapping[str, Collection[str]]) -> list[Fault]:
    """A fault for each plan or team that is named in `sections` and that is not among the `known`."""
    faults = []
    for section, key, named in (
        ("teams", "plan", "plans"),
        ("consumers", "plan", "plans"),
        ("consumers", "team", "teams"),
    ):
        for name, item in sections.get(section, {}).items():
            value = item.get(key) if isinstance(item, dict) else None
            if isinstance(value, str) and value not in known.get(named, ()):
                faults.append(Fault((section, name, key), f"there is no {key} {value!r}"))
    return faults


def unknown_services(plans: Mapping[str, Any], services: Collection[str]) -> list[Fault]:
    """A fault for each service that a plan names and that is not among `services`."""
    faults = []
    for name, item in plans.items():
        listed = item.get("services") if isinstance(item, dict) else None
        for index, access in enumerate(listed if isinstance(listed, list | tuple) else ()):
            for service in access if isinstance(access, dict) else [access]:
                if isinstance(service, str) and service not in services:
                    path: Path = ("plans", name, "services", index)
                    faults.append(Fault(path, f"there is no service {service!r}"))
    return faults


def canonical_item(section: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """A valid plan, team or consumer in canonical form: keys in a fixed order, no defaults."""
    found: dict[str, Any] = {}
    for key in in_order(item, PARSERS[section]):
        value = item[key]
        if value is None or value is _DEFAULTS.get(key) or (key in ("quota", "identities", "ip") and not value):
            continue
        found[key] = _CANONICAL[key](value) if key in _CANONICAL else value
    return found


def _canonical_quota(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    defaults = {"anchor": Anchor.CALENDAR.value, "timezone": "UTC"}
    return [
        {
            key: str(item[key]) if key != "amount" else item[key]
            for key in _QUOTA
            if item.get(key, defaults.get(key)) != defaults.get(key)
        }
        for item in value
    ]


def _canonical_services(value: list[Any]) -> list[Any]:
    listed = map(_access, value)
    return [{item.name: {"methods": list(item.methods)}} if item.methods else item.name for item in listed]


_DEFAULTS: Final = {"enabled": True, "offered": False}
_CANONICAL: Final[dict[str, Any]] = {
    "quota": _canonical_quota,
    "services": _canonical_services,
    "identities": canonical_identities,
    "price": lambda value: {key: value[key] for key in in_order(value, PRICE)},
    "signed_up": lambda value: format_timestamp(timestamp(value)),
}


def _decode(section: str, name: str, value: object) -> dict[str, Any]:
    faults = Faults()
    settings: dict[str, Any] = {}
    with faults.at():
        _NAMES[section](name)
    with faults.at():
        settings = parse_mapping(value or {}, PARSERS[section], faults, null_is_default=True)
    faults.raise_if_any()
    return settings


def _limits(settings: Mapping[str, Any]) -> Limits:
    fields = {"quotas" if key == "quota" else key: settings[key] for key in _LIMITS if key in settings}
    try:
        return Limits(**fields)
    except ValueError as error:
        key = str(error).split(" ", 1)[0]
        raise ConfigurationError([Fault((key,) if key in settings else (), str(error))]) from None
