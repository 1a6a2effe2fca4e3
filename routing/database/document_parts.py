"""Parts of a configuration document, by the names that commands have for them."""

from typing import Any

from routing.configuration.alerts import alert_name
from routing.configuration.consumers import CONSUMER_SECTIONS
from routing.configuration.faults import Fault
from routing.database.alerts import alert_label
from routing.database.apply import webhook_label
from routing.database.apply_consumers import label
from routing.database.issuers import issuer_label


def part_of(structure: Any, names: list[str]) -> Any:
    """The document with the services `names` only, and webhooks, issuers, alerts, plans, teams and consumers as
    `webhook NAME`.

    Raises LookupError if it does not contain one of them.
    """
    services = structure.get("services") if isinstance(structure, dict) else None
    if not isinstance(services, dict):
        return structure  # its faults are reported when it is decoded
    webhooks = {webhook_label(name): name for name in structure.get("webhooks") or {}}
    issuers = {issuer_label(str(item.get("issuer"))): item for item in structure.get("issuers") or ()}
    alerts = {alert_label(alert_name(item)): item for item in structure.get("alerts") or ()}
    others = {
        label(section, name): (section, name) for section in CONSUMER_SECTIONS for name in structure.get(section) or {}
    }
    unknown = [
        name for name in names if not any(name in found for found in (services, webhooks, issuers, alerts, others))
    ]
    if unknown:
        raise LookupError(f"the file does not contain {', '.join(unknown)}")
    part = {key: value for key, value in structure.items() if key not in CONSUMER_SECTIONS}
    part["services"] = {name: services[name] for name in names if name in services}
    for section, name in [others[name] for name in names if name in others]:
        part.setdefault(section, {})[name] = structure[section][name]
    return part | {
        "webhooks": {webhooks[name]: structure["webhooks"][webhooks[name]] for name in names if name in webhooks},
        "issuers": [issuers[name] for name in names if name in issuers],
        "alerts": [alerts[name] for name in names if name in alerts],
    }


def owner(fault: Fault, structure: Any) -> str:
    """The service, webhook, issuer, alert, plan, team or consumer that has the fault."""
    section, name = str(fault.path[0]), str(fault.path[1])
    if section == "issuers":
        return issuer_label(str(structure[section][int(name)].get("issuer")))
    if section == "alerts":
        return alert_label(alert_name(structure[section][int(name)]))
    return name if section == "services" else label(section, name)
