"""The demonstration's configuration: `gateway.yaml`, with the actual ports of the backends and of the gateway."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

FILE: Final = Path(__file__).with_name("gateway.yaml")
ADDRESS: Final = "http://127.0.0.1:8000"
"""The gateway's in the file."""
GMAIL: Final = "gmail"
"""The webhook that is verified by a token, whose audience is the webhook's address."""
CALENDAR: Final = "calendar"
"""The webhook whose channels the gateway opens itself, and whose address it names to the backend."""
SENDERS: Final = {"slack": "slackIntelligence", "hubspot": "crm", GMAIL: "gmailIntelligence"}
"""Which backend sends each webhook."""


def document(ports: Mapping[str, int], address: str = ADDRESS) -> dict[str, Any]:
    """The configuration document, with each service's target at its port in `ports`. `address` is the gateway's."""
    configuration: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for name, service in configuration["services"].items():
        service["targets"] = [{"url": f"http://127.0.0.1:{ports[name]}"}]
    configuration["webhooks"][GMAIL] |= gmail_addresses(ports, address)
    configuration["webhooks"][CALENDAR]["watch"] |= calendar_address(address)
    return configuration


def gmail_addresses(ports: Mapping[str, int], address: str) -> dict[str, str]:
    """The settings of Gmail's webhook that depend on ports."""
    keys = f"http://127.0.0.1:{ports[SENDERS[GMAIL]]}/oauth2/v1/certs"
    return {"audience": webhook_address(address, GMAIL), "keys_url": keys}


def calendar_address(address: str) -> dict[str, str]:
    """The setting of the calendars' watch that depends on the gateway's address."""
    return {"address": webhook_address(address, CALENDAR)}


def webhook_address(address: str, name: str) -> str:
    return f"{address}/hooks/{name}"


def preferred_ports() -> dict[str, int]:
    """The ports in the file, by service name."""
    services = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return {name: urlsplit(service["targets"][0]["url"]).port or 80 for name, service in services.items()}
