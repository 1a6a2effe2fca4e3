"""Decodes the `alerts` of a configuration document. No Django, no I/O."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from resilience.durations import HOUR
from routing.alerts.policy import Alert, Recipient
from routing.configuration.alert_conditions import condition
from routing.configuration.alert_recipients import canonical_recipient, recipient
from routing.configuration.faults import ConfigurationError, Faults
from routing.configuration.key_order import in_order
from routing.configuration.values import (
    SecretLookup,
    ValueParser,
    boolean,
    bounded_list,
    duration,
    list_of,
    parse_mapping,
    string,
)
from routing.configuration.webhook_values import service

MAX_ALERTS: Final = 100
MAX_ITEMS: Final = 50
MAX_NAME: Final = 100
MAX_RESOLVE_SECONDS: Final = HOUR
MAX_REPEAT_SECONDS: Final = 7 * 24 * HOUR


def alert_parsers(secret: SecretLookup) -> dict[str, ValueParser]:
    """The settings of an alert, in canonical order."""
    return {
        "name": _name,
        "on": _one_or_more(condition),
        "services": _one_or_more(service),
        "to": _one_or_more(recipient(secret)),
        "repeat": _repeat,
        "resolve_after": _resolve_after,
        "enabled": boolean,
    }


def decode_alerts(value: object, secret: SecretLookup, faults: Faults) -> tuple[Alert, ...]:
    """The alerts of a document. Adds what is wrong to `faults`, at `alerts.INDEX`."""
    found: dict[str, Alert] = {}
    items: list[Any] = []
    with faults.at("alerts"):
        items = bounded_list(value, MAX_ALERTS)
    for index, item in enumerate(items):
        with faults.at("alerts", index):
            alert = decode_alert(item, secret)
            if alert.name in found:
                raise ValueError(f"there is another alert {alert.name!r}: give one of them a name")
            found[alert.name] = alert
    return tuple(found.values())


def decode_alert(value: object, secret: SecretLookup) -> Alert:
    """One alert. Raises ConfigurationError, with paths relative to it."""
    faults = Faults()
    settings: dict[str, Any] = {}
    with faults.at():
        settings = parse_mapping(value, alert_parsers(secret), faults, null_is_default=True)
    for name in ("on", "to"):
        if not isinstance(value, dict) or value.get(name) is None:
            faults.add((), f"'{name}' is required")
    faults.raise_if_any()
    conditions = settings.pop("on")
    with faults.at():
        settings.setdefault("name", _name(default_name(conditions_text(conditions))))
    faults.raise_if_any()
    return Alert(conditions=conditions, recipients=_without_repetition(settings.pop("to")), **settings)


def decode_each_alert(items: Iterable[Mapping[str, Any]], secret: SecretLookup) -> tuple[Alert, ...]:
    """Each alert on its own. One with faults does nothing; one of whose secrets some are missing notifies the other
    recipients.
    """
    return tuple(_decode_each(item, secret) for item in items)


def _decode_each(item: Mapping[str, Any], secret: SecretLookup) -> Alert:
    try:
        return decode_alert(item, secret)
    except ConfigurationError as error:
        faults = tuple(map(str, error.faults))
        usable = [each for each in _listed_recipients(item) if _is_usable(each, secret)]
        try:
            if not usable or not all(fault.unresolved for fault in error.faults):
                raise
            alert = decode_alert({**item, "to": usable}, secret)
        except ConfigurationError:
            return Alert(name=alert_name(item), enabled=False, faults=faults)
        return Alert(**{name: getattr(alert, name) for name in alert.__struct_fields__} | {"faults": faults})


def _listed_recipients(item: Mapping[str, Any]) -> list[Any]:
    found = item.get("to")
    return list(found) if isinstance(found, list | tuple) else [found]


def _is_usable(value: Any, secret: SecretLookup) -> bool:
    try:
        recipient(secret)(value)
    except (ValueError, ConfigurationError):
        return False
    return True


def alert_name(item: Any) -> str:
    """The name of an alert that has been written to a file: its own, or else its conditions."""
    settings = item if isinstance(item, Mapping) else {}
    name = settings.get("name")
    return str(name) if name else default_name(_texts(settings.get("on")))


def default_name(texts: Iterable[str]) -> str:
    return ", ".join(texts)[:MAX_NAME].rstrip()


def conditions_text(conditions: Iterable[Any]) -> list[str]:
    return [found.text for found in conditions]


def _texts(value: Any) -> list[str]:
    """Conditions in canonical form, as far as they can be read."""
    texts = []
    for item in value if isinstance(value, list | tuple) else [value]:
        try:
            texts.append(condition(item).text)
        except ValueError:
            texts.append(str(item))
    return texts


def canonical_alert(item: dict[str, Any], order: Iterable[str]) -> dict[str, Any]:
    """A valid alert in canonical form."""
    texts = _texts(item["on"])
    lists = {"on": texts, "to": [canonical_recipient(each) for each in _listed_recipients(item)]}
    if item.get("services") is not None:
        named = item["services"]
        lists["services"] = sorted(named if isinstance(named, list | tuple) else [named])
    merged = {**item, **{key: found[0] if len(found) == 1 else found for key, found in lists.items()}}
    if merged.get("name") == default_name(texts):
        del merged["name"]
    return {
        key: merged[key]
        for key in in_order(merged, order)
        if merged[key] is not None and (key, merged[key]) != ("enabled", True)
    }


def _one_or_more(parser: ValueParser) -> ValueParser:
    """One value, or a list that is not empty."""

    def parse(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            return (parser(value),)
        items: tuple[Any, ...] = list_of(parser)(value)
        if not 1 <= len(items) <= MAX_ITEMS:
            raise ValueError(f"must have 1 to {MAX_ITEMS} items")
        return items

    return parse


def _without_repetition(recipients: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    return tuple({found.label: found for found in recipients}.values())


def _name(value: object) -> str:
    text = string(value)
    if not 0 < len(text) <= MAX_NAME or not text.isprintable() or text != text.strip():
        raise ValueError(f"must be a name of 1 to {MAX_NAME} printable characters")
    return text


def _repeat(value: object) -> float:
    seconds = float(duration(value))
    if not HOUR <= seconds <= MAX_REPEAT_SECONDS:
        raise ValueError("must be from 1h to 7d")
    return seconds


def _resolve_after(value: object) -> float:
    seconds = float(duration(value))
    if seconds > MAX_RESOLVE_SECONDS:
        raise ValueError("must be at most 1h")
    return seconds
